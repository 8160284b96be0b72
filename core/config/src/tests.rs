//! Small configs for every rule of the language.

use super::*;

fn load(files: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let loader = MapLoader::new(files.iter().copied());
    Config::load(files[0].0, &loader)
}

/// The config as Python on one line for each name.
fn shown(files: &[(&str, &str)]) -> String {
    match load(files) {
        Ok(config) => {
            let line = |(k, e): (&Key, &Entry)| format!("{k} = {}", value_to_py(&e.node));
            config
                .dict()
                .iter()
                .map(line)
                .collect::<Vec<_>>()
                .join("\n")
        }
        Err(errors) => panic!("{errors}"),
    }
}

fn error(files: &[(&str, &str)]) -> Diagnostic {
    match load(files) {
        Ok(config) => panic!("loaded: {}", config.to_py()),
        Err(errors) => errors.diagnostics.into_iter().next().unwrap(),
    }
}

/// The value of an expression, as Python.
fn value(text: &str) -> String {
    match parse_value(text) {
        Ok(node) => value_to_py(&node),
        Err(errors) => panic!("{text}: {errors}"),
    }
}

fn fails(text: &str) -> Kind {
    match parse_value(text) {
        Ok(node) => panic!("{text} is {}", value_to_py(&node)),
        Err(errors) => errors.diagnostics[0].kind,
    }
}

#[test]
fn expressions_have_pythons_values() {
    for (text, expected) in [
        ("-640 // 2", "-320"),
        ("-7 // 2", "-4"),
        ("7 // -2", "-4"),
        ("-7 % 3", "2"),
        ("7 % -3", "-2"),
        ("-7.5 // 2", "-4.0"),
        ("6 / 3", "2.0"),
        ("2 ** -1", "0.5"),
        ("2 ** 3 ** 2", "512"),
        ("-2 ** 2", "-4"),
        ("1 << 30", "1073741824"),
        ("-5 >> 1", "-3"),
        ("round(0.5), round(1.5), round(-2.5)", "(0, 2, -2)"),
        ("round(2.675, 2)", "2.67"),
        ("round(1234, -2)", "1200"),
        (
            "int(-3.9), int('12'), float('1e3'), str(1.0), bool([])",
            "(-3, 12, 1000.0, '1.0', False)",
        ),
        ("True + True, True / 2, True & False", "(2, 0.5, False)"),
        ("[1.0] * 2 + [0.1]", "[1.0, 1.0, 0.1]"),
        ("('a')", "'a'"),
        ("('a',)", "('a',)"),
        ("'a' 'b' + 'c'", "'abc'"),
        ("'abc'[::-1], 'abcde'[-3:-1]", "('cba', 'cd')"),
        ("[1, 2, 3][::-1]", "[3, 2, 1]"),
        ("(1, 2, 3)[1:]", "(2, 3)"),
        ("[*range(3), *(4, 5)]", "[0, 1, 2, 4, 5]"),
        ("{**dict(a=1), 'b': 2, 'a': 3}", "dict(a=3, b=2)"),
        ("dict([('a', 1)], b=2)", "dict(a=1, b=2)"),
        ("dict({'data/': 's3://x'})", "{'data/': 's3://x'}"),
        ("{1: 'a', 1.0: 'b', True: 'c'}", "{1: 'c'}"),
        ("[x * y for x in [1, 2] if x > 1 for y in (3, 4)]", "[6, 8]"),
        (
            "{f'k{i}': v for i, v in enumerate('ab', 1)}",
            "dict(k1='a', k2='b')",
        ),
        ("list(zip([1, 2], 'ab'))", "[(1, 'a'), (2, 'b')]"),
        ("1 if [] else 2", "2"),
        ("1 < 2 < 3, 1 < 3 < 2", "(True, False)"),
        ("0 or 'x', 1 and [], not 0", "('x', [], True)"),
        (
            "'b' in 'abc', 2 not in (1, 2), 'a' in dict(a=1)",
            "(True, False, True)",
        ),
        ("None is None, 1 is not None", "(True, True)"),
        (
            "sum([1, 2.5]), sum([[1], [2]], []), max(1, 3, 2), min([4, 2])",
            "(3.5, [1, 2], 3, 2)",
        ),
        ("sorted([3, 1, 2], reverse=True)", "[3, 2, 1]"),
        (
            "abs(-1.5), divmod(-7, 2), any([0, 1]), all([])",
            "(1.5, (-4, 1), True, True)",
        ),
        ("list(map(str, [1, 2]))", "['1', '2']"),
        ("'a-b'.replace('-', '_').upper().split('_')", "['A', 'B']"),
        ("', '.join(['a', 'b'])", "'a, b'"),
        ("'{} {x:>4} {1!r}'.format(1, 'b', x=2)", "\"1    2 'b'\""),
        ("'%s-%03d-%.2f%%' % ('a', 7, 0.5)", "'a-007-0.50%'"),
        (
            "f'{3.14159:.2f} {1:03d} {\"a\":>3} {[1, \"x\"]} {1e-5}'",
            "\"3.14 001   a [1, 'x'] 1e-05\"",
        ),
        (
            "'x.py'.endswith(('.py', '.json')), 'abc'.startswith('b')",
            "(True, False)",
        ),
        ("' a b '.strip().split()", "['a', 'b']"),
        ("{3, 1, 3}", "{3, 1}"),
        ("{1, 2} | {3}, {1, 2} & {2}", "({1, 2, 3}, {2})"),
        ("range(3)", "range(0, 3)"),
        (
            "len(range(0, 10, 3)), list(range(5, 0, -2))",
            "(4, [5, 3, 1])",
        ),
        ("[(a, *b) for a, *b in [(1, 2, 3)]]", "[(1, 2, 3)]"),
        ("(lambda_ := 3) + 1", "4"),
        (
            "float('inf'), -float('nan')",
            "(float('inf'), float('nan'))",
        ),
        (
            "[550.0 / x for x in [69, 35]]",
            "[7.971014492753623, 15.714285714285714]",
        ),
        ("2 ** (1.0 / 3)", "1.2599210498948732"),
        ("5 == 5.0, [1] == (1,)", "(True, False)"),
        ("'\\x41\\u00e9\\n'", "'Aé\\n'"),
        ("r'\\d'", "'\\\\d'"),
        ("dict(a=1).get('b', 2), dict(a=1).pop('a')", "(2, 1)"),
        ("dict.fromkeys('ab', 0)", "dict(a=0, b=0)"),
        ("isinstance(1, (int, str))", "True"),
        ("[1, 2, 3].index(2), [1, 1].count(1)", "(1, 2)"),
        ("dict(a=1) | dict(b=2)", "dict(a=1, b=2)"),
        ("reversed([1]) and 1", "1"),
        ("tuple(x for x in 'ab')", "('a', 'b')"),
        ("1_000 + 0xff + 0b11", "1258"),
        ("'a' * 3, 2 * [0]", "('aaa', [0, 0])"),
        ("10 ** 18", "1000000000000000000"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn what_fails_in_python_fails_here() {
    use Kind::{Evaluate, Limit, Overflow, Syntax, Unsupported};
    for (text, kind) in [
        ("1 / 0", Evaluate),
        ("1.0 // 0", Evaluate),
        ("1 % 0", Evaluate),
        ("0 ** -1", Evaluate),
        ("(-8) ** 0.5", Evaluate),
        ("[1] + (2,)", Evaluate),
        ("'a' + 1", Evaluate),
        ("[1][1]", Evaluate),
        ("dict(a=1)['b']", Evaluate),
        ("dict(a=1).a", Evaluate),
        ("{[]: 1}", Evaluate),
        ("dict(a=1).pop('b')", Evaluate),
        ("x", Evaluate),
        ("len(3)", Evaluate),
        ("int('x')", Evaluate),
        ("dict(a=1, **dict(a=2))", Evaluate),
        ("range(1.0)", Evaluate),
        ("1 < 'a'", Evaluate),
        ("9223372036854775807 + 1", Overflow),
        ("2 ** 63", Overflow),
        ("1 << 63", Overflow),
        ("-(-9223372036854775807 - 1)", Overflow),
        ("99999999999999999999", Overflow),
        ("(-9223372036854775807 - 1) // -1", Overflow),
        ("10 ** 10 ** 10", Overflow),
        ("round(1e19)", Overflow),
        ("[0] * 10 ** 12", Limit),
        ("list(range(10 ** 12))", Limit),
        ("'a' * 10 ** 12", Limit),
        (
            "[[x for x in range(10 ** 5)] for y in range(10 ** 5)]",
            Limit,
        ),
        ("open('x')", Unsupported),
        ("__import__('os')", Unsupported),
        ("(lambda: 1)()", Unsupported),
        ("'a'.encode()", Unsupported),
        ("sorted([1], key=len)", Unsupported),
        ("exec('1')", Unsupported),
        ("1 +", Syntax),
        ("b'a'", Syntax),
        ("'{:999999999}'.format(1)", Evaluate),
        ("f'{1:99999999}'", Evaluate),
        ("zip([1])", Unsupported),
        ("2.0 ** 100000", Evaluate),
    ] {
        assert_eq!(fails(text), kind, "{text}");
    }
}

#[test]
fn a_child_is_merged_into_its_base() {
    let base = (
        "b.py",
        "a = 1\nm = dict(x=1, y=dict(p=1, q=[1, 2]), z=(1, 2))\nl = [1]\n",
    );
    let child = "_base_ = './b.py'\nm = dict(y=dict(q=[3], r=4), w=5)\nl = (2,)\nn = None\n";
    let text = shown(&[("c.py", child), base]);
    assert_eq!(
        text,
        "a = 1\nm = dict(x=1, y=dict(p=1, q=[3], r=4), z=(1, 2), w=5)\nl = (2,)\nn = None"
    );
    // `_delete_` replaces; where nothing is replaced it stays, as in MMEngine.
    let child = "_base_ = ['b.py']\nm = dict(y=dict(_delete_=True, s=1), z=3)\nnew = dict(_delete_=True, t=1)\n";
    let text = shown(&[("c.py", child), base]);
    assert_eq!(
        text,
        "a = 1\nm = dict(x=1, y=dict(s=1), z=3)\nl = [1]\nnew = dict(_delete_=True, t=1)"
    );
}

#[test]
fn a_dict_over_a_list_says_what_to_do() {
    let files = [
        (
            "c.py",
            "_base_ = 'b.py'\nneck = dict(in_channels=dict(a=1))\n",
        ),
        ("b.py", "neck = dict(in_channels=[1, 2, 3])\n"),
    ];
    let text = error(&files).to_string();
    let expected = "\
error: the base has a list of 3 at `neck.in_channels`; a dict cannot be merged into it
 --> c.py:2:25
2 | neck = dict(in_channels=dict(a=1))
  |                         ^^^^^^^^^ a dict here
 --> b.py:1:25
1 | neck = dict(in_channels=[1, 2, 3])
  |                         ^^^^^^^^^ a list of 3 in the base
help: give the whole list, change an item with `_base_.neck.in_channels[0]`, or replace it: `in_channels=dict(_delete_=True, ...)`";
    assert_eq!(text, expected);
}

#[test]
fn the_base_can_be_read_and_changed() {
    let base = "model = dict(backbone=dict(depth=50), neck=[dict(a=1), dict(a=2)])\nsteps = [8, 11]\nscale = (1, 2)\n";
    let child = "\
_base_ = 'b.py'
detector = _base_.model
detector.backbone = dict(depth=18)
_base_.model.neck[1].a = 3
_base_['steps'][0] = _base_.steps[1] // 2
_base_.new = dict(x=1)
first, *rest = _base_.scale
del _base_.scale
";
    let text = shown(&[("c.py", child), ("b.py", base)]);
    assert_eq!(
        text,
        "model = dict(backbone=dict(depth=18), neck=[dict(a=1), dict(a=3)])\nsteps = [5, 11]\nnew = dict(x=1)\n\
         detector = dict(backbone=dict(depth=18), neck=[dict(a=1), dict(a=3)])\nfirst = 1\nrest = [2]"
    );
    // `update` of a base's dict merges, that of a plain dict replaces; a missing key popped is None there.
    let child = "\
_base_ = 'b.py'
_base_.model.update(dict(backbone=dict(style='x')))
plain = dict(a=dict(b=1))
plain.update(a=dict(c=2))
none = _base_.pop('missing')
gone = _base_.model.pop('neck')
";
    let text = shown(&[("c.py", child), ("b.py", base)]);
    assert!(
        text.starts_with("model = dict(backbone=dict(depth=50, style='x'))\n"),
        "{text}"
    );
    assert!(
        text.contains("plain = dict(a=dict(c=2))\nnone = None\ngone = [dict(a=1), dict(a=2)]"),
        "{text}"
    );
}

#[test]
fn values_of_a_file_are_shared_until_it_ends() {
    let base = "a = dict(x=1)\nb = a\nb['x'] = 2\nc = [a, a]\nd = a.copy()\nd['x'] = 3\n";
    assert_eq!(
        shown(&[("b.py", base)]),
        "a = dict(x=2)\nb = dict(x=2)\nc = [dict(x=2), dict(x=2)]\nd = dict(x=3)"
    );
    let child = "_base_ = 'b.py'\n_base_.a.x = 4\n";
    assert_eq!(
        shown(&[("c.py", child), ("b.py", base)]),
        "a = dict(x=4)\nb = dict(x=2)\nc = [dict(x=2), dict(x=2)]\nd = dict(x=3)"
    );
    // What is put into a dict of the base is copied, plain dicts and lists alike.
    let child = "_base_ = 'b.py'\np = dict(y=1)\n_base_.a.p = p\np['y'] = 2\nimport copy\nq = copy.deepcopy(_base_.a)\nq.x = 9\n";
    let text = shown(&[("c.py", child), ("b.py", base)]);
    assert!(
        text.starts_with("a = dict(x=2, p=dict(y=1))")
            && text.ends_with("p = dict(y=2)\nq = dict(x=9, p=dict(y=1))"),
        "{text}"
    );
}

#[test]
fn statements_beyond_assignments() {
    let text = "\
import copy
from math import pi
total = 0
for i, x in enumerate([1, 2, 3]):
    if x == 2:
        continue
    elif x > 5:
        break
    total += x
else:
    done = True
items = [1]
alias = items
items += (2,)
items[1:1] = [9, 9]
del items[0], i
a = b = dict(k=[0])
a['k'].append(1)
c: int = 3
if __name__ == '__main__':
    total = -1
__private = 1
while total < 10: total *= 2
assert total == 16, 'no'
(p, [q, r]) = 1, [2, 3]
";
    assert_eq!(
        shown(&[("a.py", text)]),
        "pi = 3.141592653589793\ntotal = 16\nx = 3\ndone = True\nitems = [9, 9, 2]\nalias = [9, 9, 2]\na = dict(k=[0, 1])\nb = dict(k=[0, 1])\nc = 3\np = 1\nq = 2\nr = 3"
    );
}

#[test]
fn braces_stand_for_values_of_the_base() {
    let base = (
        "b.py",
        "data_root = 'data/'\nmean = [1.0, 2.0]\nargs = dict(x=None)\n",
    );
    let child = "\
_base_ = './b.py'  # {{_base_.nothing}}
root = {{_base_.data_root}}
p = dict(mean={{ _base_.mean }}, l=[{{_base_.args.x}}, ({{_base_.args}},)])
name = '{{fileBasenameNoExtension}}'
n = {{'$N:80'}}
";
    let text = shown(&[("c.py", child), base]);
    assert!(text.ends_with("root = 'data/'\np = dict(mean=[1.0, 2.0], l=[None, (dict(x=None),)])\nname = 'c'\nn = 80"), "{text}");
    let files = [
        (
            "c.py",
            "_base_ = 'b.py'\nx = '{{_base_.data_root}}/train'\n",
        ),
        base,
    ];
    assert!(error(&files).help.unwrap().contains("without braces"));
    let text = error(&[("c.py", "_base_ = 'b.py'\nx = {{_base_.data_rot}}\n"), base]).to_string();
    assert!(
        text.contains("did you mean `data_root`?") && text.contains("c.py:2:5"),
        "{text}"
    );
    let mut loader = MapLoader::new([("c.py", "x = '{{$HOME_X:/d}}'\n")]);
    loader.env.insert("HOME_X".into(), "/root".into());
    let config = Config::load("c.py", &loader).unwrap();
    assert_eq!(config.get("x").unwrap().as_str(), Some("/root"));
    assert_eq!(config.env, [("HOME_X".to_owned(), "/root".to_owned())]);
}

#[test]
fn two_bases_may_not_set_the_same_key() {
    let files = [
        ("c.py", "_base_ = ['a.py', 'b.py']\n"),
        ("a.py", "x = 1\ny = 2\n"),
        ("b.py", "z = 1\ny = 3\n"),
    ];
    let diagnostic = error(&files);
    assert_eq!(diagnostic.kind, Kind::Key);
    let text = diagnostic.to_string();
    for part in ["both set `y`", "c.py:1:19", "a.py:2:1", "b.py:2:1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn bases_that_are_wrong_or_load_each_other() {
    let files = [
        ("d/c.py", "_base_ = '../_base_/modles/r50.py'\n"),
        ("_base_/models/r50.py", ""),
        ("_base_/models/r101.py", ""),
    ];
    assert_eq!(
        error(&files).help.unwrap(),
        "the nearest file is `../_base_/models/r50.py`"
    );
    let files = [("a.py", "_base_ = 'b.py'\n"), ("b.py", "_base_ = 'a.py'\n")];
    let cycle = error(&files);
    assert_eq!(cycle.kind, Kind::Cycle);
    assert!(cycle.message.contains("a.py -> b.py -> a.py"), "{cycle}");
    let names: Vec<(String, String)> = (0..50)
        .map(|i| (format!("{i}.py"), format!("_base_ = '{}.py'", i + 1)))
        .collect();
    let files: Vec<(&str, &str)> = names
        .iter()
        .map(|(a, b)| (a.as_str(), b.as_str()))
        .collect();
    assert_eq!(error(&files).kind, Kind::Limit);
    for (text, kind) in [
        ("_base_ = 3", Kind::Key),
        ("_base_ = ('a.py',)", Kind::Key),
        ("_base_ = [3]", Kind::File),
        ("_base_ = x", Kind::Evaluate),
    ] {
        assert_eq!(error(&[("c.py", text)]).kind, kind, "{text}");
    }
}

#[test]
fn errors_are_collected_and_show_the_chain() {
    let files = [
        ("c.py", "_base_ = 'm.py'\n"),
        ("m.py", "_base_ = 'b.py'\n"),
        (
            "b.py",
            "a = undefined\nb = a + 1\nc = [1][3]\nd = dict(x=1)['y']\n",
        ),
    ];
    let errors = load(&files).unwrap_err();
    assert_eq!(errors.diagnostics.len(), 3, "{errors}");
    assert!(
        errors
            .to_string()
            .contains("= base chain: c.py:1 -> m.py:1 -> b.py"),
        "{errors}"
    );
    let text = error(&[("a.py", "data_root = 1\nx = dict(\n    y=data_rot)\n")]).to_string();
    assert_eq!(
        text,
        "error: there is no name `data_rot`\n --> a.py:3:7\n3 |     y=data_rot)\n  |       ^^^^^^^^\nhelp: did you mean `data_root`?"
    );
}

#[test]
fn bases_of_other_packages_have_a_scope() {
    let mut loader = MapLoader::new([
        ("c.py", "_base_ = 'mmx::models/a.py'\nm = dict(b=2)\n"),
        (
            "/site/mmx/.mim/configs/models/a.py",
            "_base_ = '../r.py'\nm = dict(type='A', inner=dict(type='B'))\nl = [dict(x=dict(type='C', _scope_='s'))]\n",
        ),
        (
            "/site/mmx/.mim/configs/r.py",
            "h = dict(a=dict(type='D'))\nt = dict(x=1)\n",
        ),
    ]);
    assert!(
        Config::load("c.py", &loader)
            .unwrap_err()
            .to_string()
            .contains("--package mmx=")
    );
    for folder in [
        "/site/mmx",
        "/site",
        "/site/mmx/.mim",
        "/site/mmx/.mim/configs",
    ] {
        loader.packages.insert("mmx".into(), folder.into());
        let config = Config::load("c.py", &loader).unwrap();
        assert_eq!(
            config.to_py(),
            "h = dict(a=dict(type='D', _scope_='mmx'))\nt = dict(x=1)\nm = dict(type='A', inner=dict(type='B'), _scope_='mmx', b=2)\n\
             l = [dict(x=dict(type='C', _scope_='s'))]\n"
        );
    }
    loader
        .files
        .insert("d.py".into(), "_base_ = 'mmx::models/b.py'\n".into());
    let text = Config::load("d.py", &loader).unwrap_err().to_string();
    assert!(
        text.contains("the nearest file is `mmx::models/a.py`"),
        "{text}"
    );
}

#[test]
fn deprecation_reserved_names_and_custom_imports() {
    let child = "_base_ = 'b.py'\ncustom_imports = dict(imports=['my.models'], allow_failed_imports=False)\n";
    let config = load(&[
        ("c.py", child),
        (
            "b.py",
            "_deprecation_ = dict(expected='d.py', reference='r')\nx = 1\n",
        ),
    ])
    .unwrap();
    assert!(config.get("_deprecation_").is_none());
    assert_eq!(
        config.notes[0].help.as_deref(),
        Some("use d.py instead; see r")
    );
    assert_eq!(config.custom_imports(), ["my.models"]);
    assert_eq!(error(&[("c.py", "filename = 1\n")]).kind, Kind::Key);
}

#[test]
fn programs_are_refused_politely() {
    let program = "import argparse\nimport json\ndef main():\n    args = 1\nif __name__ == '__main__':\n    main()\n";
    let diagnostic = error(&[("a.py", program)]);
    assert_eq!(diagnostic.kind, Kind::Script);
    assert_eq!(diagnostic.labels.len(), 2);
    assert_eq!(
        error(&[("a.py", "import mmengine\ndef f():\n    pass\n")]).kind,
        Kind::Script
    );
    // One that is never called is dropped, as MMEngine does.
    assert_eq!(
        shown(&[("a.py", "def f(x):\n    return x\na = 1\n")]),
        "a = 1"
    );
    assert_eq!(
        error(&[("a.py", "def f(x):\n    return x\na = f(1)\n")]).kind,
        Kind::Unsupported
    );
    for text in [
        "class A:\n    pass\n",
        "try:\n    a = 1\nexcept E:\n    a = 2\n",
        "with open('x') as f:\n    a = 1\n",
        "raise E\n",
        "import os\nos.system('x')\n",
    ] {
        assert_eq!(error(&[("a.py", text)]).kind, Kind::Unsupported, "{text}");
    }
}

#[test]
fn lazy_style() {
    let base = "\
from torch.optim import SGD
import torch.nn as nn
from .shared import lr
";
    let base = format!(
        "{}with read_base():\n    from .shared import lr\n",
        base.replace(
            "from .shared import lr\n",
            "from mmengine.config import read_base\n"
        )
    ) + "optim = dict(type=SGD, lr=lr)\nact = nn.ReLU\nmodel = dict(a=dict(x=1, y=2), l=[1])\n";
    let child = "\
from mmengine.config import read_base
with read_base():
    from .._base_.base import *
    from .._base_.base import optim as other
import mmdet.models
from mmdet.models import RetinaNet as R
model.update(dict(a=dict(x=5), type=R))
model.merge(dict(a=dict(_delete_=True, z=1), b=2))
optim.lr *= 2
kind = mmdet.models.heads.Head
";
    let files = [
        ("d/c.py", child),
        ("_base_/base.py", base.as_str()),
        ("_base_/shared.py", "lr = 0.1\n"),
    ];
    let text = shown(&files);
    assert_eq!(
        text,
        "lr = 0.1\noptim = dict(type='torch.optim.SGD', lr=0.2)\nact = 'torch.nn.ReLU'\n\
         model = dict(a=dict(z=1), l=[1], type='mmdet.models.RetinaNet', b=2)\nother = dict(type='torch.optim.SGD', lr=0.2)\nkind = 'mmdet.models.heads.Head'"
    );
    let config = load(&files).unwrap();
    assert!(config.imported.contains("SGD") && config.imported.contains("nn"));
    assert_eq!(
        config.at("model.type").unwrap().as_type().as_deref(),
        Some("mmdet.models.RetinaNet")
    );
    // The older spelling.
    let old = "if '_base_':\n    from .b import *\nx = [a, 2]\n";
    assert_eq!(
        shown(&[("c.py", old), ("b.py", "a = 1\n")]),
        "a = 1\nx = [1, 2]"
    );
    // A later base wins, without an error.
    let two = "with read_base():\n    from .a import *\n    from .b import *\n";
    assert_eq!(
        shown(&[("c.py", two), ("a.py", "x = 1\n"), ("b.py", "x = 2\n")]),
        "x = 2"
    );
    // Absolute imports, from the file's own package.
    let own = "with read_base():\n    from pkg.configs.b import x\n";
    assert_eq!(
        shown(&[
            ("s/pkg/configs/c.py", own),
            ("s/pkg/configs/b.py", "x = 2\ny = 3\n")
        ]),
        "x = 2"
    );
}

#[test]
fn the_styles_do_not_mix() {
    let lazy = "with read_base():\n    from .b import *\n";
    assert_eq!(
        error(&[("c.py", lazy), ("b.py", "_base_ = 'd.py'\n")]).kind,
        Kind::Style
    );
    assert_eq!(
        error(&[
            ("c.py", "_base_ = 'b.py'\n"),
            ("b.py", "from torch import nn\n")
        ])
        .kind,
        Kind::Style
    );
    assert_eq!(
        error(&[("c.py", "from torch.nn import *\n")]).kind,
        Kind::Evaluate
    );
    assert_eq!(
        error(&[("c.py", "from torch import nn\nx = nn.ReLU()\n")]).kind,
        Kind::Unsupported
    );
    assert_eq!(error(&[("c.py", lazy), ("d.py", "")]).kind, Kind::File);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_config() {
    for (name, text) in [
        ("a.py", "\u{FEFF}x = 1\ny = z"),
        ("a.json", "\u{FEFF}{\"x\": 1,\n\"y\" 2}"),
        ("a.yaml", "\u{FEFF}x: 1\ny: [2"),
    ] {
        let good = text.lines().next().unwrap().replace(',', "}");
        let config = Config::parse(&good, name, &MapLoader::default());
        let config = config.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(config.get("x").and_then(Node::as_int), Some(1), "{name}");
        let error = Config::parse(text, name, &MapLoader::default()).unwrap_err();
        assert!(error.to_string().contains(&format!("{name}:2:")), "{error}");
    }
}

#[test]
fn json_and_yaml_mix_with_python() {
    let files = [
        (
            "c.json",
            "{\"_base_\": \"b.yaml\", \"x\": {{_base_.a}}, \"m\": {\"q\": 2}}",
        ),
        (
            "b.yaml",
            "_base_: [p.py]\na: [1, 2.5, yes]\nm:\n  p: {_delete_: true, z: 1}\n",
        ),
        ("p.py", "m = dict(p=dict(y=(1, 2)))\n"),
    ];
    assert_eq!(
        shown(&files),
        "m = dict(p=dict(z=1), q=2)\na = [1, 2.5, True]\nx = [1, 2.5, True]"
    );
    let mut python = vec![("d.py", "_base_ = './c.json'\nm = dict(n={{_base_.m.q}})\n")];
    python.extend(files);
    assert!(shown(&python).starts_with("m = dict(p=dict(z=1), q=2, n=2)"));
    assert_eq!(error(&[("a.json", "[1]")]).kind, Kind::Syntax);
    assert_eq!(error(&[("a.yml", "1: 2\n")]).kind, Kind::Key);
    assert_eq!(error(&[("a.toml", "")]).kind, Kind::File);
    assert_eq!(
        error(&[
            (
                "a.json",
                "{\"_base_\": \"b.py\", \"x\": \"a {{_base_.y}}\"}"
            ),
            ("b.py", "y = 1\n")
        ])
        .kind,
        Kind::Syntax
    );
}

#[test]
fn bombs_end_in_a_limit() {
    let mut doubling = String::from("a0 = [0] * 10\n");
    for i in 1..40 {
        doubling += &format!("a{i} = [a{0}, a{0}]\n", i - 1);
    }
    let loops = "x = 0\nwhile True:\n    x = 1\n";
    let nested = "a = []\nfor i in range(100000):\n    a = [a]\n";
    let cycle = "a = {}\na['a'] = a\n";
    let growing = "s = 'a'\nfor i in range(100):\n    s = s + s\n";
    let inner = "x = []\nr = x\nfor i in range(100000):\n    y = []\n    x.append(y)\n    x = y\n";
    let repr = "a = [1]\nfor i in range(50):\n    a = [a, a]\nb = str(a)\n";
    let equal =
        "a = [1]\nb = [1]\nfor i in range(50):\n    a = [a, a]\n    b = [b, b]\nc = a == b\n";
    for text in [
        doubling.as_str(),
        loops,
        nested,
        cycle,
        growing,
        inner,
        repr,
        equal,
    ] {
        assert_eq!(error(&[("a.py", text)]).kind, Kind::Limit, "{text}");
    }
    // Sharing over bases is counted too.
    let base = "a = [0] * 100000\n";
    assert_eq!(
        error(&[
            ("c.py", "_base_ = 'b.py'\nx = [_base_.a] * 100\n"),
            ("b.py", base)
        ])
        .kind,
        Kind::Limit
    );
    let big = "x".repeat(LARGEST + 1);
    let kind = load(&[("a.py", big.as_str())]).unwrap_err().diagnostics[0].kind;
    assert_eq!(kind, Kind::File);
}

#[test]
fn options_of_the_command_line() {
    let base = "m = dict(d=50, l=[dict(a=1), dict(b=2)], t=(1, 2))\nx = 1\n";
    let set = |options: &[&str]| {
        let mut config = load(&[("a.py", base)]).unwrap();
        config.merge_options(options).map(|()| config)
    };
    let config = set(&[
        "m.d=18",
        "m.l.1.b=9",
        "m.l.0.c.d=1",
        "x=(1,2.5)",
        "y=a,b",
        "z=[(1,2),[a,'b']]",
        "e=1e-3",
        "n=None",
        "t=TRUE",
        "q='a b'",
        "u=",
        "v=()",
        "w='1'",
    ])
    .unwrap();
    assert_eq!(
        config.to_py(),
        "m = dict(d=18, l=[dict(a=1, c=dict(d=1)), dict(b=9)], t=(1, 2))\nx = (1, 2.5)\ny = ['a', 'b']\nz = [(1, 2), ['a', 'b']]\ne = 0.001\n\
         n = None\nt = True\nq = 'ab'\nu = ''\nv = ()\nw = 1\n"
    );
    assert_eq!(
        config.at("m.d").unwrap().origin.to_string(),
        "--cfg-options m.d=18"
    );
    for (option, part) in [
        ("m.l.2.a=1", "exceeds the list of 2"),
        ("m.l.x=1", "is no index"),
        ("m.d.x=1", "a dict cannot be merged into it"),
        ("m", "is no option"),
        ("m..a=1", "is no option"),
        ("x=[1,2],[3]", "do not fit"),
        ("x=99999999999999999999", "64 bits"),
        ("m.t.0=1", "a tuple of 2"),
    ] {
        let text = set(&[option]).unwrap_err().to_string();
        assert!(text.contains(part), "{option}: {text}");
    }
    // A list is not a dict, so a later key within it is refused; the last of two equal keys wins.
    assert!(set(&["x=1", "x.y=2"]).is_err());
    assert_eq!(
        set(&["x=3", "x=4"]).unwrap().get("x").unwrap().as_int(),
        Some(4)
    );
}

#[test]
fn python_output_reads_back() {
    let text = "\
a = dict(b=[1, 2.0, (3,), ()], c={1: 'x', 'y-z': None, 'if': 1}, d={1, 2}, e=set(), f=range(3))
g = [dict(type='LongName', value='a long text that does not fit on one line', other=i, more=[0.1] * 5) for i in range(4)]
h = 'quote \\' and \" and \\n and \\\\ {'
i = (float('inf'), -float('inf'), 1e-7, 1e22, -9223372036854775807 - 1, True)
j = {}
k = '{' '{fileDirname}}'
l = {(1, 'a'): 2, None: 3, 1.5: 4}
";
    let config = load(&[("a.py", text)]).unwrap();
    let again = load(&[("a.py", config.to_py().as_str())]).unwrap();
    assert_eq!(config.root, again.root, "{}", config.to_py());
    assert_eq!(config.to_py(), again.to_py());
    assert!(config.to_py().lines().all(|l| l.chars().count() <= 120));
    // Names that are none in Python.
    let config = load(&[("a.json", "{\"a-b\": 1, \"class\": [2]}")]).unwrap();
    let again = load(&[("a.py", config.to_py().as_str())]).unwrap();
    assert_eq!(config.root, again.root, "{}", config.to_py());
    let json = load(&[("a.py", "a = dict(b=(1, 2.0), c=[dict(d=None)], e='x\"')\n")])
        .unwrap()
        .to_json();
    assert_eq!(
        json,
        "{\n  \"a\": {\n    \"b\": [1, 2.0],\n    \"c\": [\n      {\n        \"d\": null\n      }\n    ],\n    \"e\": \"x\\\"\"\n  }\n}\n"
    );
}

#[test]
fn differences_are_found_by_path() {
    let a = load(&[(
        "a.py",
        "m = dict(x=1, y=[dict(p=1), dict(p=2)], z=(1, 2))\nn = 1\n",
    )])
    .unwrap();
    let b = load(&[(
        "b.py",
        "n = 1.0\nm = dict(x=1, y=[dict(p=1), dict(p=3), 4], z=[1, 2])\n",
    )])
    .unwrap();
    let shown = |n: &Option<Node>| n.as_ref().map_or("-".to_owned(), value_to_py);
    let changes: Vec<String> = diff(a.dict(), b.dict())
        .iter()
        .map(|c| format!("{} {} {}", c.path, shown(&c.left), shown(&c.right)))
        .collect();
    assert_eq!(
        changes,
        ["m.y.1.p 2 3", "m.y.2 - 4", "m.z (1, 2) [1, 2]", "n 1 1.0"]
    );
    assert!(diff(a.dict(), a.dict()).is_empty());
}

#[test]
fn places_are_those_a_writer_would_change() {
    let base = (
        "b.py",
        "depth = 50\nmodel = dict(\n    backbone=dict(depth=depth, type='R'))\n",
    );
    let config = load(&[
        (
            "c.py",
            "_base_ = 'b.py'\nmodel = dict(backbone=dict(type='S'))\n",
        ),
        base,
    ])
    .unwrap();
    let place = |path: &str| config.at(path).unwrap().origin.to_string();
    assert_eq!(place("model.backbone.depth"), "b.py:3:25");
    assert_eq!(place("model.backbone.type"), "c.py:2:33");
    let shown = config
        .errors(vec![
            Diagnostic::error("bad").at(&config.at("model.backbone.depth").unwrap().origin, ""),
        ])
        .to_string();
    assert!(shown.contains("base chain: c.py:1 -> b.py"), "{shown}");
    let origins: Vec<String> = config
        .origins()
        .iter()
        .map(|(p, n)| format!("{p} {}", n.origin.line()))
        .collect();
    assert_eq!(
        origins,
        ["depth 1", "model.backbone.depth 3", "model.backbone.type 2"]
    );
}

mod reading {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Style {
        Pytorch,
        Caffe,
    }

    #[derive(Debug, Deserialize)]
    struct Backbone {
        depth: usize,
        #[serde(default)]
        strides: Vec<usize>,
        #[serde(default)]
        scale: Option<[f64; 2]>,
        #[serde(default)]
        deep_stem: bool,
        style: Style,
        #[serde(default)]
        norm_cfg: Option<Node>,
        #[serde(default)]
        stages: Vec<Stage>,
    }

    #[derive(Debug, Deserialize)]
    struct Stage {
        blocks: i32,
        #[serde(default)]
        lr: f32,
    }

    fn node(text: &str) -> Node {
        load(&[("a.py", text)]).unwrap().get("b").unwrap().clone()
    }

    #[test]
    fn a_component_is_read_from_lists_tuples_and_integers() {
        let node = node(
            "b = dict(type='R', _scope_='mmdet', depth=50, strides=(1, 2), scale=[1, 2.5], style='caffe', norm_cfg=dict(type='BN'), stages=[dict(type='S', blocks=3, lr=1)])\n",
        );
        let backbone: Backbone = node.read().unwrap();
        assert_eq!(
            (
                backbone.depth,
                backbone.strides,
                backbone.scale,
                backbone.deep_stem
            ),
            (50, vec![1, 2], Some([1.0, 2.5]), false)
        );
        assert!(matches!(backbone.style, Style::Caffe));
        assert_eq!(
            backbone.norm_cfg.unwrap().get("type").unwrap().as_str(),
            Some("BN")
        );
        assert_eq!((backbone.stages[0].blocks, backbone.stages[0].lr), (3, 1.0));
    }

    #[test]
    fn every_mistake_is_reported_at_its_place() {
        let node = node(
            "b = dict(type='R', depht=50, strides=[1, 'x', 2.0], scale=(1, 2, 3), deep_stem=1, style='cafe', stages=[dict(blocks=True), dict(lr=None, x=1)])\n",
        );
        let found = node.read::<Backbone>().unwrap_err();
        let lines: Vec<String> = found
            .iter()
            .map(|d| {
                format!(
                    "{} @{} {}",
                    d.message,
                    d.labels[0].0.column(),
                    d.help.as_deref().unwrap_or("")
                )
                .trim_end()
                .to_owned()
            })
            .collect();
        let mut sorted = lines.clone();
        sorted.sort();
        let mut expected = vec![
            "the key `depht` is not known @20 did you mean `depth`?",
            "the key `depth` is missing @5",
            "`1`: an integer that is not negative expected, but the string 'x' given @42",
            "`2`: an integer that is not negative expected, but the float 2.0 given @47",
            "`scale`: 2 items expected, but there are 3 @59",
            "`deep_stem`: True or False expected, but the integer 1 given @80",
            "`style`: 'cafe' is not known @89 did you mean 'caffe'? There are `pytorch`, `caffe`",
            "`blocks`: an integer expected, but True given @117",
            "the key `blocks` is missing @124",
            "`lr`: a number expected, but None given @132",
            "the key `x` is not known @138 there are `blocks`, `lr`",
        ];
        expected.sort_unstable();
        assert_eq!(sorted, expected, "{lines:#?}");
    }

    #[test]
    fn a_whole_value_of_the_wrong_type() {
        let found = node("b = [1]\n").read::<Backbone>().unwrap_err();
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("a dict expected"), "{}", found[0]);
        assert_eq!(node("b = range(3)\n").read::<Vec<u8>>().unwrap(), [0, 1, 2]);
        assert_eq!(
            node("b = (1, 'a')\n").read::<(i32, String)>().unwrap(),
            (1, "a".to_owned())
        );
        assert!(node("b = -1\n").read::<u32>().is_err() && node("b = 300\n").read::<u8>().is_err());
    }
}

#[test]
fn a_config_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Config>();
    shared::<ConfigErrors>();
}

#[test]
fn the_value_of_a_variable_is_data() {
    let values = [
        r"D:\666\new_dir",
        r"C:\Users\me",
        r#"it's "quoted" '''and''' """so""""#,
        "a\nb = 2\r\n",
        r"ends with \",
        "{{$X:y}} {{_base_.a}} {x} %s",
        "# no comment",
        "数据\u{A0}",
        "',); b = 3 #",
    ];
    let py = r#"
a = '{{$V:/data}}'
b = r'{{$V:/data}}/x'
c = "{{'$V:/data'}}"
d = f'{a}{{$V:/data}}'
e = '''{{$V:/data}}'''
# {{$V:/data}}
f = {'k{{$V:/data}}': 1}
"#;
    let json = r#"{"a": "{{$V:/data}}", "b": "\t{{$V:/data}}", "k{{$V:/data}}": 1}"#;
    let yaml = "a: {{$V:/data}}\nb: '{{$V:/data}}/x'\nc: \"\\t{{$V:/data}}\"\n";
    for value in values {
        let mut loader = MapLoader::new([("a.py", py), ("a.json", json), ("a.yaml", yaml)]);
        loader.env.insert("V".into(), value.into());
        let load = |name: &str| {
            Config::load(name, &loader).unwrap_or_else(|e| panic!("{name}, {value:?}: {e}"))
        };
        let text =
            |config: &Config, path: &str| config.at(path).unwrap().as_str().unwrap().to_owned();
        let config = load("a.py");
        for (path, expected) in [
            ("a", value.to_owned()),
            ("b", format!("{value}/x")),
            ("c", value.to_owned()),
            ("d", format!("{value}{value}")),
            ("e", value.to_owned()),
        ] {
            assert_eq!(text(&config, path), expected, "{path}");
        }
        let key = config.get("f").unwrap().as_dict().unwrap().names().next();
        assert_eq!(key, Some(format!("k{value}").as_str()));
        assert_eq!(config.env[0], ("V".to_owned(), value.to_owned()));
        let config = load("a.json");
        assert_eq!(text(&config, "a"), value);
        assert_eq!(text(&config, "b"), format!("\t{value}"));
        assert!(config.dict().contains(&format!("k{value}")));
        let config = load("a.yaml");
        assert_eq!(text(&config, "a"), value);
        assert_eq!(text(&config, "b"), format!("{value}/x"));
        assert_eq!(text(&config, "c"), format!("\t{value}"));
    }
}

#[test]
fn a_variable_outside_of_quotes_is_a_value() {
    let load = |text: &str, value: &str| {
        let mut loader = MapLoader::new([("a.py", text)]);
        loader.env.insert("V".into(), value.into());
        Config::load("a.py", &loader)
    };
    for (value, expected) in [
        ("80", "80"),
        ("[1, 'a']", "[1, 'a']"),
        ("1 + 2", "3"),
        ("None", "None"),
    ] {
        let config = load("a = {{$V:1}}", value).unwrap();
        assert_eq!(value_to_py(config.get("a").unwrap()), expected);
    }
    for value in [r"D:\666", "1\nb = 2", "3; b = 4", "a=1, b=2", "it's"] {
        let error = load("a = {{$V:1}}\n", value).unwrap_err().to_string();
        assert!(
            error.contains("a.py:1:5") && error.contains("put quotes around"),
            "{error}"
        );
    }
    let config = load("a = 0.{{$V:1}}", "01").unwrap();
    assert_eq!(config.get("a").and_then(Node::as_float), Some(0.01));
    let error = load("a = {{$V:1}}\n", "").unwrap_err().to_string();
    assert!(error.contains("`V` is empty"), "{error}");
    // the folder's name is data too
    let files = [("it's/a\"b/c.py", "x = '{{fileDirname}}'\n")];
    assert_eq!(
        shown(&files),
        "x = \"it's/a\\\"b\"".replace("\"it's/a\\\"b\"", &text::string("it's/a\"b"))
    );
}

#[test]
fn bases_are_named_at_the_top() {
    let base = ("b.py", "lr = 1\n");
    for (text, message, place) in [
        (
            "if True:\n    _base_ = './b.py'\nelse:\n    _base_ = './c.py'\n",
            "within an `if` is not read",
            "a.py:2:5",
        ),
        (
            "for i in [1]:\n    _base_ = './b.py'\n",
            "within a loop",
            "a.py:2:5",
        ),
        (
            "_base_ = './b.py'\n_base_ = './c.py'\n",
            "set a second time",
            "a.py:2:1",
        ),
        (
            "_base_ = ['./b.py']\n_base_ += ['./c.py']\n",
            "added to",
            "a.py:2:1",
        ),
        (
            "_base_ = ['./b.py']\n_base_.append('./c.py')\n",
            "added to",
            "a.py:2:1",
        ),
        (
            "x = _base_ = './b.py'\n",
            "together with other names",
            "a.py:1:1",
        ),
        (
            "root = '.'\n_base_ = [f'{root}/b.py']\n",
            "computed from `root`",
            "a.py:2:14",
        ),
        (
            "import os\n_base_ = os.path.join('.', 'b.py')\n",
            "computed from `os`",
            "a.py:2:10",
        ),
        ("_base_ = './b.py',\n", "not a tuple", "a.py:1:10"),
    ] {
        let text = error(&[("a.py", text), base]).to_string();
        assert!(text.contains(message) && text.contains(place), "{text}");
        assert!(text.contains("help: "), "{text}");
    }
    let lazy = "from mmengine.config import read_base\nif True:\n    with read_base():\n        from .b import *\n";
    let text = error(&[("a.py", lazy), base]).to_string();
    assert!(
        text.contains("within another block") && text.contains("a.py:3:5"),
        "{text}"
    );
    let text = error(&[("a.py", "x = (_base_ := './b.py')\n"), base]).to_string();
    assert!(text.contains("within an expression is not read"), "{text}");
    for name in ["_base", "__base__", "_bases_", "_BASE_"] {
        let config = load(&[("a.py", &format!("{name} = './b.py'\n")), base]).unwrap();
        let note = config.notes[0].to_string();
        assert!(note.contains(&format!("`{name}` names no bases")), "{note}");
    }
    assert!(
        load(&[("a.py", "base = 'b.py'\n_base = 3\n")])
            .unwrap()
            .notes
            .is_empty()
    );
    // what needs no name can be computed
    assert_eq!(
        shown(&[
            ("a.py", "_base_ = ['./' + n + '.py' for n in ['b']]\n"),
            base
        ]),
        "lr = 1"
    );
    // written on Windows
    assert_eq!(
        shown(&[("d/a.py", "_base_ = r'..\\b.py'\n"), base]),
        "lr = 1"
    );
    let text = error(&[("d/a.py", "_base_ = '..\\b.py'\n"), base]).to_string();
    assert!(
        text.contains("`d/..<U+0008>.py`") && text.contains("r'...'"),
        "{text}"
    );
}

#[test]
fn strange_characters_are_named() {
    for (text, message, help) in [
        (
            "a\u{A0}= 1\n",
            "U+00A0 NO-BREAK SPACE is no Python",
            "write an ordinary space",
        ),
        (
            "a = 1\u{200B}\n",
            "U+200B ZERO WIDTH SPACE is no Python",
            "take it away",
        ),
        (
            "a = ‘x’\n",
            "(U+2018 LEFT SINGLE QUOTATION MARK)",
            "write `'` in its place",
        ),
        (
            "a = dict（b=1）\n",
            "(U+FF08 FULLWIDTH LEFT PARENTHESIS)",
            "write `(`",
        ),
        ("a = １\n", "(U+FF11 FULLWIDTH DIGIT ONE)", "write `1`"),
        (
            "ａ = 1\n",
            "(U+FF41 FULLWIDTH LATIN SMALL LETTER A)",
            "write `a`",
        ),
        (
            "if True:\n\u{3000}\u{3000}a = 1\n",
            "U+3000 IDEOGRAPHIC SPACE",
            "there are 2 of it",
        ),
        (
            "a = 'C:\\Users'\n",
            "too few hexadecimal digits",
            "`\\U` begins an escape",
        ),
        (
            "a = f'C:\\Users{1}'\n",
            "too few hexadecimal digits",
            "`\\U` begins an escape",
        ),
        (
            "a = 'C:\\data\\'\n",
            "this string is not closed",
            "makes the quote part",
        ),
        (
            "version https://git-lfs.github.com/spec/v1\nsize 3\n",
            "a Git LFS pointer",
            "git lfs pull",
        ),
        ("<html><title>x</title>", "an HTML page ('x')", "download"),
        ("m\0o\0d\0e\0l\0", "UTF-16LE", "iconv"),
    ] {
        let text = error(&[("a.py", text)]).to_string();
        assert!(text.contains(message) && text.contains(help), "{text}");
        assert!(text.contains("a.py:"), "{text}");
    }
    let text = error(&[("a.json", "{\"a\":\u{A0}1}")]).to_string();
    assert!(
        text.contains("U+00A0 NO-BREAK SPACE") && text.contains("a.json:1:6"),
        "{text}"
    );
    let text = error(&[("a.json", "{“a”: 1}")]).to_string();
    assert!(
        text.contains("U+201C") && text.contains("write `\"`"),
        "{text}"
    );
    assert!(error(&[("a.json", "")]).to_string().contains("empty"));
    for (text, message, place) in [
        ("a: 1\nb:\u{A0}2\n", "U+00A0 NO-BREAK SPACE", "a.yaml:2:3"),
        ("a: 1\nb： 2\n", "U+FF1A FULLWIDTH COLON", "a.yaml:2:2"),
        (
            "a:\n\tb: 2\n",
            "YAML is indented with spaces only",
            "a.yaml:2:1",
        ),
    ] {
        let text = error(&[("a.yaml", text)]).to_string();
        assert!(text.contains(message) && text.contains(place), "{text}");
    }
    let text = error(&[("c.py", "_base_ = 'a.py'\n"), ("a.py", "a\u{A0}= 1\n")]).to_string();
    assert!(text.contains("base chain: c.py:1"), "{text}");
    assert_eq!(shown(&[("a.py", ""), ("b.py", "")]), "");
    // letters of other scripts are names in Python too
    assert_eq!(shown(&[("a.py", "名前 = 'ａ'\n")]), "名前 = 'ａ'");
}

#[test]
fn a_comma_that_made_a_tuple_explains_what_fails_later() {
    for (text, comma) in [
        ("model = dict(a=1),\nmodel.update(dict(b=1))\n", "a.py:1:18"),
        ("model = dict(a=1),\nmodel['b'] = 1\n", "a.py:1:18"),
        ("root = 'a/',\nann = root + 'b.json'\n", "a.py:1:12"),
        ("n = 3,\nx = 2 ** n\n", "a.py:1:6"),
    ] {
        let text = error(&[("a.py", text)]).to_string();
        assert!(
            text.contains(comma) && text.ends_with("help: take the comma away"),
            "{text}"
        );
    }
    let text = error(&[("a.py", "x = (1,)\ny = x + 'a'\n")]).to_string();
    assert!(!text.contains("comma"), "{text}");
}

#[test]
fn reading_a_long_text_is_work_wherever_it_is_read() {
    // 200 times over a million characters, and so more than the steps of a config; a loop alone is 200 steps.
    for work in [
        "a is b",
        "a == b",
        "format(1, s)",
        "f'{1:{s}}'",
        "'{:{}}'.format(1, s)",
        "t % d",
        "int(s)",
        "float(s)",
        "a.startswith(b)",
        "a.endswith(b)",
        "'-'.strip(a)",
        "osp.basename(a)",
        "osp.splitext(a)",
        "isinstance(a, str)",
        "'b'.startswith((a, b))",
        "isinstance(1, kinds)",
        "items[:]",
        "items + items",
        "items.reverse()",
        "list(items)",
        "[*items]",
        "copy.copy(many)",
        "dict(many)",
        "{**many}",
        "many == many2",
        "{0} | set(items)",
    ] {
        let text = format!(
            "import copy
import os.path as osp
items = list(range(100000))
kinds = (str,) * 100000
many = {{i: i for i in items}}
many2 = dict(many)
a = 'x' * 1000000
b = 'x' * 1000000
s = '0' * 999999 + '1'
t = '%(n)s' * 200000
d = {{'n': ''}}
c = [{work} for i in range(200)]
"
        );
        let found = error(&[("a.py", &text)]);
        assert!(
            found.message.starts_with("this config ") && found.message.contains(" more than "),
            "{work}: {}",
            found.message
        );
    }
}

#[test]
fn costs_that_no_python_program_has_are_errors() {
    for (text, part) in [
        ("a = 'a'.ljust(10000, 'xy')\n", "fills with one character"),
        ("a = 'a'.center(10, '')\n", "fills with one character"),
        ("a = 'a'.rjust(10, 1)\n", "fills with one character"),
        (
            "t = ()\nfor i in range(1000):\n    t = (t,)\nd = {t: 1}\n",
            "nested more than 100 deep",
        ),
        (
            "a = ('a' * 1000000).strip('b' * 1000000 + 'a')\n",
            "takes more than",
        ),
        (
            "a = 'x' * 1001\nd = {a: 1}\n",
            "a key of more than 1000 bytes",
        ),
        (
            "a = 'x' * 1001\nd = a in {}\n",
            "a key of more than 1000 bytes",
        ),
        (
            "d = {('x' * 500, ('x' * 501, 1))}\n",
            "a key of more than 1000 bytes",
        ),
        ("t = '%(' * 10 % {}\n", "a `)` is missing"),
    ] {
        let found = error(&[("a.py", text)]);
        assert!(found.message.contains(part), "{text}: {}", found.message);
    }
    let long = format!("{} = 1\n", "x".repeat(1001));
    for (file, text) in [
        ("a.py", &*long),
        ("a.json", &format!("{{\"{}\": 1}}", "x".repeat(1001))),
        ("a.yaml", &format!("{}: 1\n", "x".repeat(1001))),
    ] {
        let found = error(&[(file, text)]);
        assert!(found.message.contains("more than 1000 bytes"), "{found}");
    }
    assert_eq!(value("'a'.ljust(3, 'é')"), "'aéé'");
}

#[test]
fn values_are_counted_before_they_are_made() {
    let many = "1,".repeat(600_000);
    let json = format!("{{\"a\": [{}0]}}", many);
    let yaml = format!("a: [{}0]\n", many);
    let texts = "a = 'x' * 1000000\nb = [a] * 200\n".to_string();
    for (file, text) in [("a.json", json), ("a.yaml", yaml), ("a.py", texts)] {
        let found = error(&[(file, &text)]);
        assert!(found.message.contains("more than 500000 values"), "{found}");
    }
}

#[test]
fn a_base_that_is_reached_in_many_ways_counts_once() {
    let name = |i: usize| format!("d{i}.py");
    let mut files: Vec<(String, String)> = (0..31)
        .map(|i| (name(i), format!("_base_ = ['d{0}.py', 'd{0}.py']\n", i + 1)))
        .collect();
    files.push((
        name(31),
        "_deprecation_ = dict(expected='x', reference='y')\n".into(),
    ));
    let load = |files: &[(String, String)]| {
        let loader = MapLoader::new(files.iter().map(|(p, t)| (&**p, &**t)));
        Config::load("d0.py", &loader)
    };
    let config = load(&files).unwrap();
    assert_eq!((config.notes.len(), config.includes.len()), (1, 31));
    files[31].1 = "x = nothing\n".into();
    let errors = load(&files).unwrap_err().diagnostics;
    assert_eq!(errors.len(), 1, "told once");
    assert_eq!(errors[0].chain.len(), 31);
}

#[test]
fn missing_bases_are_looked_for_a_few_times() {
    use std::cell::Cell;
    #[derive(Default)]
    struct Counting {
        files: MapLoader,
        lists: Cell<usize>,
    }
    impl Loader for Counting {
        fn read(&self, path: &str) -> Result<String, LoadError> {
            self.files.read(path)
        }
        fn list(&self, folder: &str) -> Vec<String> {
            self.lists.set(self.lists.get() + 1);
            self.files.list(folder)
        }
    }
    let names: String = (0..900)
        .map(|i| format!("'fil{i}.py', 'fil{i}.py',"))
        .collect();
    let text = format!("_base_ = [{names}]\n");
    let files = MapLoader::new([("a.py", &*text), ("file1.py", "")]);
    let loader = Counting {
        files,
        ..Counting::default()
    };
    let errors = Config::load("a.py", &loader).unwrap_err();
    assert_eq!(errors.diagnostics.len(), 900, "one for each file");
    let helped = errors.diagnostics.iter().filter(|e| e.help.is_some());
    assert_eq!((helped.count(), loader.lists.get()), (20, 1));
    let shown = errors.to_string();
    assert!(
        shown.ends_with("... and 850 more") && shown.len() < 20_000,
        "{}",
        shown.len()
    );
}

#[test]
fn messages_repeat_no_long_values() {
    let long = "y".repeat(100_000);
    for text in [
        format!("x = int('{long}')\n"),
        format!("x = {{}}['{}']\n", &long[..900]),
        format!("x = '{long}' + 1\n"),
        format!("_base_ = '{long}.py'\n"),
        format!("assert False, '{long}'\n"),
    ] {
        let shown = error(&[("a.py", &text)]).to_string();
        assert!(shown.len() < 1500, "{}", &shown[..500]);
    }
}

#[test]
fn control_characters_of_a_file_do_not_reach_the_terminal() {
    let text = "x = {}['\\x1b[2J\\nerror: \\x9b31m']\n";
    let shown = error(&[("a.py", text)]).to_string();
    assert!(
        shown.contains("there is no key `<U+001B>[2J\\nerror: <U+009B>31m` here"),
        "{shown}"
    );
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
}

#[test]
fn a_text_is_read_once_whatever_braces_it_has() {
    // With every pair looked at to the end of the line this would be 10^13 steps.
    for text in ["{", "{{$a", "{{$a:", "{{ ", "{{{{}}"] {
        let text = format!("# {}\nx = 1\n", text.repeat(1_000_000 / text.len()));
        assert_eq!(
            Config::parse(&text, "a.py", &MapLoader::default())
                .unwrap()
                .dict()
                .len(),
            1
        );
    }
    let mut config = Config::parse("x = 1\n", "a.py", &MapLoader::default()).unwrap();
    config
        .merge_options(&[format!("x={}", ",".repeat(1_000_000))])
        .unwrap();
    assert_eq!(
        config.get("x").and_then(Node::as_items).map(<[Node]>::len),
        Some(1_000_000)
    );
}

#[test]
fn characters_that_frame_variables_are_read_from_escapes() {
    let values = ["a\u{FDD1}b", "\u{FDD1}41\u{FDD1}", "\u{FDD0}x\u{FDD0}"];
    let escaped = [r"'a\ufdd1b'", r"'\ufdd141\ufdd1'", r"'\ufdd0x\ufdd0'"];
    let text = |values: [&str; 3]| format!("a = [{}]\n", values.join(", "));
    let config = load(&[("a.py", text(escaped).as_str())]).unwrap();
    let found = config.get("a").and_then(Node::as_items).unwrap();
    let found: Vec<_> = found.iter().filter_map(Node::as_str).collect();
    assert_eq!(found, values);
    assert_eq!(config.to_py(), text(escaped));
    let json = format!("{{\"a\": {}}}", escaped[1].replace('\'', "\""));
    let config = load(&[("a.json", json.as_str())]).unwrap();
    assert_eq!(config.get("a").unwrap().as_str(), Some(values[1]));
    let config = load(&[("a.py", "a = 'x\u{FDD1}y'")]).unwrap();
    assert_eq!(config.get("a").unwrap().as_str(), Some("x\u{FDD1}y"));
}

#[test]
fn names_of_functions_are_written_behind_what_calls_them() {
    let text = "{\"dict\": {\"a\": NaN}, \"b-c\": {\"d\": Infinity}, \"e\": {\"f\": 1}}";
    let config = load(&[("a.json", text)]).unwrap();
    let python = config.to_py();
    let expected =
        "globals()['b-c'] = dict(d=float('inf'))\ne = dict(f=1)\ndict = dict(a=float('nan'))\n";
    assert_eq!(python, expected);
    assert_eq!(load(&[("a.py", &python)]).unwrap().root, config.root);
    let all = r#"{"dict": NaN, "float": {"a": 1}, "globals": 2, "set": {}, "range": [3]}"#;
    let config = load(&[("a.json", all)]).unwrap();
    let again = load(&[("a.py", config.to_py().as_str())]).unwrap();
    assert_eq!(again.root, config.root, "{}", config.to_py());
}

#[test]
fn a_dict_with_a_key_that_is_no_number_is_equal_to_itself() {
    let config = load(&[("a.yaml", "a: {.nan: 1, .inf: 2}\n")]).unwrap();
    let again = load(&[("a.py", config.to_py().as_str())]).unwrap();
    assert_eq!(config.root, again.root, "{}", config.to_py());
    assert!(diff(config.dict(), again.dict()).is_empty());
}
