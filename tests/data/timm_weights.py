"""Where timm's own weights lie, by timm's registry: core/src/backbones/timm/weights.txt.

usage: timm_weights.py NAMES.txt OUT.txt
NAMES.txt has the models that are built here, a name a line (those of `smalti list backbones TIMMBackbone`). What the tests compare, the number of
models and tags and a digest of all addresses, is printed: it is worked out from what timm would open, not from OUT.
timm 0.9.16, torch 2.4.1.
"""
import sys

import timm  # noqa: F401
import timm.models._builder as builder
from timm.models import _registry as registry

HEAD = '''\
# timm 0.9.16: a model, then the tags of its weights, the default first. They are `timm/MODEL.TAG` on Hugging Face's hub; `TAG=REPOSITORY` are open
# CLIP's in another one, `TAG=` has none. `OLDER > MODEL.TAG`: a name that timm no longer lists. Made by tests/data/timm_weights.py.
'''
builder.has_hf_hub = lambda necessary=False: True


def opened(full):
    """The address of what `timm.create_model(full, pretrained=True)` opens, or nothing."""
    config = registry._model_pretrained_cfgs[full].to_dict()
    if config.get('custom_load'):
        raise ValueError(f'{full} is loaded in its own way')
    kind, place = builder._resolve_pretrained_source(config)
    if not kind:
        return ''
    assert kind == 'hf-hub', (full, kind)
    repository, file = place if isinstance(place, tuple) else (place, 'pytorch_model.bin')
    safe = {'pytorch_model.bin': 'model.safetensors', 'open_clip_pytorch_model.bin': 'open_clip_model.safetensors'}[file]
    return f'https://huggingface.co/{repository}/resolve/main/{safe}'


def main():
    names_path, out_path = sys.argv[1:]
    names = sorted(set(open(names_path).read().split()))
    lines, digest, count = [], 0xCBF29CE484222325, 0
    for name in names:
        words = [name]
        for tag in registry._model_default_cfgs[name].tags:
            address = opened(f'{name}.{tag}')
            usual = f'https://huggingface.co/timm/{name}.{tag}/resolve/main/model.safetensors'
            words.append(tag if address == usual else f'{tag}=' + '/'.join(address.split('/')[3:5]))
            count += 1
            for byte in f'{name} {tag} {address}\n'.encode():
                digest = ((digest ^ byte) * 0x100000001B3) % 2**64
        lines.append(' '.join(words))
    older = sorted((old, now) for old, now in registry._deprecated_models.items() if now and now.split('.')[0] in names)
    lines += [f'{old} > {now}' for old, now in older]
    with open(out_path, 'w') as file:
        file.write(HEAD + '\n'.join(lines) + '\n')
    print(f'{len(names)} models, {count} tags, digest {digest:#018x}, {len(older)} older names')


if __name__ == '__main__':
    main()
