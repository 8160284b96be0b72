_base_ = './bas.py'
model = dict(a=1, a=2)
b = unknown + 1
c = [1, 2
d = 1 / 0
