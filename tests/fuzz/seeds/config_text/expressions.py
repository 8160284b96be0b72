a = [x * y for x in range(3) for y in (1, 2) if x != y]
b = {k: v for k, v in dict(a=1, b=2).items()}
c = {x % 2 for x in a}
d = f'{a[0]:>5} {b!r} {1.5:.3f} {{}} {"n" * 2}'
e = '%s-%05.2f-%d' % ('a', 3.14159, 7) + '{0}{x:>8}'.format(1, x='y')
f = 'a,b'.split(',') + sorted([3, 1, 2], reverse=True) + list(map(str, (1, 2)))
g = dict(**b, z=[*a, 1], **{'1x': 2})
h = not 1 < 2 <= 3 != 4 in a or (1 if a else 2)
i = 1 << 3 | 5 & 6 ^ ~7
j = ('a' 'b').upper().replace('A', 'c').strip() + 'x'.join(['1', '2'])
k = max(1, 2), min([1, 2]), sum(a), len(a), abs(-1), round(2.5), divmod(7, 2), pow(2, 3)
l = a[::-1], a[1:], a[-1], 'abc'[1], (1,)
m = isinstance(1, int), hasattr(a, 'x'), any(a), all(a), list(zip(a, f)), dict(zip('ab', range(2)))
n = float('nan'), float('-inf'), int('12'), str(1.5), bool([]), tuple(range(3)), set(), repr('a'), chr(65), ord('a')
