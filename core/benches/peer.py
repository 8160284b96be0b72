#!/usr/bin/env python3
"""Times MMDetection on PyTorch (CPU), stage by stage: the peer of our own benches.

Needs an environment with mmdet 3.3.0, mmengine, mmcv, torch (and mmpretrain, timm if the config names them). Any MMDetection 3.x config
works; single-stage detectors are split into backbone, neck, head and postprocess, others are timed as `extract` and `predict`.

    peer.py --config retinanet/retinanet_r50_fpn_1x_coco.py --size 480x800 --threads 1 2
    peer.py --config digits.py --checkpoint epoch_24.pth --size 320x320
    peer.py --config digits.py --size 320x320 --train 4     # a training step with 4 pictures
    peer.py --config-tree              # Config.fromfile on every config of the installed mmdet
    peer.py --config-tree DIR

A --config that is no file is looked up below the installed mmdet's configs. Every (config, threads) pair runs in a fresh process, so that start-up
and peak memory are its own. Times are milliseconds: the median of --repeat runs after --warmup runs, and the quartiles. The stages:

    import, config, build, load     once per process: modules; config file; model; checkpoint file into the model
    first_detection                 wall time from the start of the process to the first detection
    checkpoint                      torch.load alone, then load_checkpoint into the model
    preprocess                      test pipeline from a decoded u8 picture, then the data preprocessor
    backbone, neck, head            forward passes, without gradients
    postprocess                     predict_by_feat: scores, top-k, decode, NMS, rescale
    total                           test_step: preprocess to detections (pipeline included)

With --train N, in place of these, the steps of a training on one batch of N pictures of --size as they are (no pipeline), eight boxes in each; models with
masks are left out:

    losses                          forward pass in training mode, targets, losses and their sum
    backward                        gradients of every parameter that is not frozen
    optimizer                       SGD with momentum
    training step                   the three together

Without a checkpoint the weights are those a training would start from: hardly any score passes the threshold and postprocess has little to do (see
`detections`). Run it on a quiet machine: two threads on busy cores wait for each other and mean nothing (the JSON has the load average).
Prints a table, then one line of JSON (also to --json FILE).
"""
import argparse
import glob
import json
import os
import platform
import resource
import subprocess
import sys
import time

STARTED = time.time()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', help='an MMDetection config: a path, or a path below the installed mmdet configs')
    parser.add_argument('--checkpoint', help='a .pth for it; random weights if left out')
    parser.add_argument('--picture', help='a picture to detect on (decoded once, outside the timings)')
    parser.add_argument('--size', default='480x640', help='HEIGHTxWIDTH of the generated picture where there is no --picture (default: %(default)s)')
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2], help='thread counts to time, one after another (default: 1 2)')
    parser.add_argument('--repeat', type=int, default=10, help='timed runs of each stage (default: %(default)s)')
    parser.add_argument('--warmup', type=int, default=2, help='untimed runs before them (default: %(default)s)')
    parser.add_argument('--train', type=int, metavar='N', help='time a training step on a batch of N pictures in place of inference')
    parser.add_argument('--config-tree', nargs='?', const='', metavar='DIR', help="time mmengine's reading of every config below DIR (default: the installed mmdet's)")
    parser.add_argument('--json', metavar='FILE', help='write the JSON here too')
    parser.add_argument('--child', choices=['model', 'train', 'tree'], help=argparse.SUPPRESS)
    parser.add_argument('--spawned', type=float, default=STARTED, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.config and options.config_tree is None:
        parser.error('nothing to time: give --config or --config-tree')
    return options


def quiet():
    """No warnings and no log lines among the figures."""
    import logging
    import warnings
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)


def median(values):
    values = sorted(values)
    n = len(values)
    return (values[(n - 1) // 2] + values[n // 2]) / 2


def summary(seconds):
    """Median and quartiles in milliseconds."""
    values = sorted(seconds)
    n = len(values)
    return dict(ms=median(values) * 1e3, q1=values[n // 4] * 1e3, q3=values[min(n - 1, (3 * n) // 4)] * 1e3, runs=n)


def timed(run, repeat, warmup):
    """The last result of `run` and the summary of its times."""
    result, seconds = None, []
    for i in range(warmup + repeat):
        start = time.perf_counter()
        result = run()
        if i >= warmup:
            seconds.append(time.perf_counter() - start)
    return result, summary(seconds)


def peak_mib():
    """Peak resident memory of this process (Linux counts KiB, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == 'darwin' else 1 << 10)


def installed_configs():
    import mmdet
    return os.path.join(os.path.dirname(mmdet.__file__), '.mim', 'configs')


def without_pretrained(node):
    """Drop what would fetch weights: the checkpoint, or random numbers, come instead."""
    if isinstance(node, dict):
        for key in list(node):
            if key == 'init_cfg':
                node[key] = None
            elif key == 'pretrained':
                node[key] = False if str(node.get('type', '')).endswith('TIMMBackbone') else None
            else:
                without_pretrained(node[key])
    elif isinstance(node, (list, tuple)):
        for value in node:
            without_pretrained(value)


def test_pipeline(config):
    """The config's own test pipeline, starting from a decoded picture; COCO's usual one where the config has none."""
    try:
        steps = config.test_dataloader.dataset.pipeline
    except AttributeError:
        steps = config.get('test_pipeline')
    steps = steps or [dict(type='Resize', scale=(1333, 800), keep_ratio=True), dict(type='PackDetInputs')]
    kept = [step for step in steps if not str(step['type']).endswith(('LoadImageFromFile', 'LoadAnnotations'))]
    return [dict(type='mmdet.LoadImageFromNDArray'), *kept]


def decoded_picture(options):
    import cv2
    import numpy as np
    if options.picture:
        picture = cv2.imread(options.picture)
        if picture is None:
            sys.exit(f'cannot read {options.picture}')
        return picture
    height, width = (int(n) for n in options.size.lower().split('x'))
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([127 + 100 * np.sin((k + 1) * x / 40 + y / 60) for k in range(3)], -1)
    noise = np.random.default_rng(0).normal(0, 10, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def load_model(options, once):
    """The config and its model in evaluation mode, without gradients; what happens once is timed into `once`."""
    start = time.perf_counter()
    import torch
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmengine.runner import load_checkpoint
    register_all_modules()
    torch.set_grad_enabled(False)
    once['import'] = time.perf_counter() - start

    start = time.perf_counter()
    path = options.config if os.path.exists(options.config) else os.path.join(installed_configs(), options.config)
    config = Config.fromfile(path)
    once['config'] = time.perf_counter() - start

    start = time.perf_counter()
    init_default_scope(config.get('default_scope', 'mmdet'))
    without_pretrained(config.model)
    torch.manual_seed(0)
    model = MODELS.build(config.model).eval()
    if not options.checkpoint:
        model.init_weights()  # a head's prior probability keeps random scores below the threshold, as at the start of a training
    once['build'] = time.perf_counter() - start

    if options.checkpoint:
        start = time.perf_counter()
        load_checkpoint(model, options.checkpoint, map_location='cpu', logger='silent')
        once['load'] = time.perf_counter() - start
    return config, model


def preprocessing(config, model, picture):
    """The function that makes the model's input of a decoded picture: test pipeline, then data preprocessor."""
    from mmcv.transforms import Compose
    pipeline = Compose(test_pipeline(config))

    def preprocess():
        packed = pipeline(dict(img=picture, img_id=0))
        data = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
        return model.data_preprocessor(data, False)

    return preprocess


def time_model(options):
    """Every stage of one config at one thread count, in this process."""
    threads = options.threads[0]
    quiet()
    report = dict(config=options.config, checkpoint=options.checkpoint, threads=threads, stages={})
    once, stages = {}, report['stages']
    config, model = load_model(options, once)
    import torch
    torch.set_num_threads(threads)
    preprocess = preprocessing(config, model, decoded_picture(options))

    def detect():
        data = preprocess()
        return model.predict(data['inputs'], data['data_samples'])

    found = detect()
    once['first_detection'] = time.time() - options.spawned
    report['peak_mib_first_detection'] = round(peak_mib(), 1)
    report['detections'] = len(found[0].pred_instances)

    for name, seconds in once.items():
        stages[name] = summary([seconds])
    n, w = options.repeat, options.warmup
    if options.checkpoint:
        from mmengine.runner import load_checkpoint
        _, stages['checkpoint torch.load'] = timed(lambda: torch.load(options.checkpoint, map_location='cpu', weights_only=False), n, w)
        _, stages['checkpoint into model'] = timed(lambda: load_checkpoint(model, options.checkpoint, map_location='cpu', logger='silent'), n, w)
    data, stages['preprocess'] = timed(preprocess, n, w)
    inputs, samples = data['inputs'], data['data_samples']
    report['input'] = list(inputs.shape)
    if hasattr(model, 'bbox_head') and hasattr(model, 'backbone') and not hasattr(model, 'roi_head'):
        features, stages['backbone'] = timed(lambda: model.backbone(inputs), n, w)
        if model.with_neck:
            features, stages['neck'] = timed(lambda: model.neck(features), n, w)
        outputs, stages['head'] = timed(lambda: model.bbox_head(features), n, w)
        metas = [sample.metainfo for sample in samples]
        _, stages['postprocess'] = timed(lambda: model.bbox_head.predict_by_feat(*outputs, batch_img_metas=metas, rescale=True), n, w)
    else:
        _, stages['extract'] = timed(lambda: model.extract_feat(inputs), n, w)
        _, stages['predict'] = timed(lambda: model.predict(inputs, samples), n, w)
    _, stages['total'] = timed(detect, n, w)
    report['peak_mib'] = round(peak_mib(), 1)
    report['torch'] = torch.__version__
    return report


def time_train(options):
    """One training step, again and again on the same batch, in this process."""
    quiet()
    report = dict(config=options.config, checkpoint=options.checkpoint, threads=options.threads[0])
    _, model = load_model(options, {})
    import torch
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    torch.set_num_threads(options.threads[0])
    torch.set_grad_enabled(True)
    model.train()
    picture = torch.from_numpy(decoded_picture(options)).permute(2, 0, 1).contiguous()
    height, width = picture.shape[1:]
    samples = []
    for _ in range(options.train):
        corner = torch.rand(8, 2) * torch.tensor([width, height]) * 0.7
        sides = torch.tensor([width, height]) * (0.05 + 0.25 * torch.rand(8, 2))
        objects = InstanceData(bboxes=torch.cat([corner, corner + sides], 1), labels=torch.zeros(8, dtype=torch.long))
        meta = dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
        samples.append(DetDataSample(gt_instances=objects, ignored_instances=InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0)), metainfo=meta))
    data = model.data_preprocessor(dict(inputs=[picture] * options.train, data_samples=samples), True)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4, momentum=0.9)

    clocks = []
    for _ in range(options.warmup + options.repeat):
        clock = [time.perf_counter()]
        total, _ = model.parse_losses(model.loss(data['inputs'], data['data_samples']))
        clock.append(time.perf_counter())
        optimizer.zero_grad()
        total.backward()
        clock.append(time.perf_counter())
        optimizer.step()
        clock.append(time.perf_counter())
        clocks.append(clock)
    if not torch.isfinite(total):
        sys.exit(f'the loss is {total.item()} after {len(clocks)} steps: no work that a training does')
    clocks = clocks[options.warmup:]
    parts = {'losses': (0, 1), 'backward': (1, 2), 'optimizer': (2, 3), 'training step': (0, 3)}
    report['stages'] = {name: summary([clock[b] - clock[a] for clock in clocks]) for name, (a, b) in parts.items()}
    return dict(report, input=list(data['inputs'].shape), loss=total.item(), peak_mib=round(peak_mib(), 1), torch=torch.__version__)


def time_tree(options):
    """Config.fromfile over a whole tree in one process; failures are counted, and their time is part of the sum."""
    quiet()
    start = time.perf_counter()
    from mmengine.config import Config
    imported = time.perf_counter() - start
    root = options.config_tree or installed_configs()
    files = sorted(glob.glob(os.path.join(root, '**', '*.py'), recursive=True))
    failed = 0
    start = time.perf_counter()
    for path in files:
        try:
            Config.fromfile(path, import_custom_modules=False)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failed += 1
    seconds = time.perf_counter() - start
    return dict(config_tree=options.config_tree or 'mmdet', files=len(files), failed=failed,
                stages={'import': summary([imported]), 'config tree': summary([seconds])}, peak_mib=round(peak_mib(), 1))


def spawn(options, kind, threads):
    """Run one measurement in a fresh process and read its JSON."""
    command = [sys.executable, '-W', 'ignore', os.path.abspath(__file__), '--child', kind, '--threads', str(threads),
               '--repeat', str(options.repeat), '--warmup', str(options.warmup), '--size', options.size]
    if kind == 'tree':
        command += ['--config-tree', options.config_tree] if options.config_tree else ['--config-tree']
    else:
        command += ['--config', options.config]
        command += ['--checkpoint', options.checkpoint] if options.checkpoint else []
        command += ['--picture', options.picture] if options.picture else []
        command += ['--train', str(options.train)] if options.train else []
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), PYTHONWARNINGS='ignore')
    done = subprocess.run(command + ['--spawned', repr(time.time())], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f'the measuring process failed:\n{done.stderr[-3000:]}')
    return json.loads(done.stdout.strip().splitlines()[-1])


def table(report):
    title = report.get('config') or f"config tree: {report['files']} files, {report['failed']} refused"
    detail = f"{report['threads']} thread(s), input {'x'.join(map(str, report['input']))}, " if 'config' in report else ''
    detail += f"{report['detections']} detections, " if 'detections' in report else ''
    print(f"\n{title}\n{detail}peak {report['peak_mib']:.0f} MiB")
    print(f"  {'stage':<24}{'median ms':>12}{'q1':>12}{'q3':>12}{'runs':>6}")
    for name, value in report['stages'].items():
        print(f"  {name:<24}{value['ms']:>12.2f}{value['q1']:>12.2f}{value['q3']:>12.2f}{value['runs']:>6}")


def main():
    options = arguments()
    if options.child:
        print(json.dumps({'model': time_model, 'train': time_train, 'tree': time_tree}[options.child](options)))
        return
    reports = [spawn(options, 'train' if options.train else 'model', threads) for threads in options.threads] if options.config else []
    if options.config_tree is not None:
        reports.append(spawn(options, 'tree', 1))
    for report in reports:
        table(report)
    load = os.getloadavg()[0] if hasattr(os, 'getloadavg') else None
    result = json.dumps(dict(host=dict(machine=platform.machine(), cores=os.cpu_count(), python=platform.python_version(), load=load), reports=reports))
    print('\n' + result)
    if options.json:
        with open(options.json, 'w') as file:
            file.write(result + '\n')


if __name__ == '__main__':
    main()
