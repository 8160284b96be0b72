"""A text."""
import math
import os.path as osp
a: int = 1
b = c = [1, -2.5, 0x1F, 0b11, 0o17, 1_000, .5, 1e3, 'x' "y", r'\d', b'z', None, True]
d, (e, *f) = 1, (2, 3, 4)
a += 2; b[0] //= 1; b[1:3] = [7]; b.append(5)
for i, x in enumerate(b):
    if x is None or not x:
        continue
    elif i > 5 and x != 3:
        break
    else:
        g = i
while a < 5:
    a = a + 1
assert a, 'no'
path = osp.join('a', '..', 'b.py')
root = math.sqrt(2) ** -1 % 3 // 1
#####
#####
