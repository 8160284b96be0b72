a = dict(x=1)
a.update(y=2)
a.setdefault('z', []).append(3)
b = a.copy()
b.pop('x', None)
c = list(a.keys()) + list(a.values())
c.extend([1]); c.insert(0, 2); c.remove(2); c.reverse(); c.sort(key=str)
d = c.index(1), c.count(1), c.pop()
e = ' A-b '.strip().lower().title().capitalize().swapcase().zfill(8).center(20, '*').ljust(3).rjust(4)
f = 'a.b.c'.rsplit('.', 1), 'x=1'.partition('='), 'ab'.startswith(('a', 'b')), 'ab'.endswith('b'), 'a\nb'.splitlines()
g = 'abc'.find('c'), 'abc'.count('a'), '12'.isdigit(), 'ab'.isalpha(), 'a b'.encode if 0 else 1
from copy import deepcopy
h = deepcopy(a)
i = {1, 2} | {3}, {1, 2} & {2}, {1} - {1}
j = dict.fromkeys(['a', 'b'], 0) | dict(c=1)
