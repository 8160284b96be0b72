base = ['base.py']
_base_ = base + ['./other.py']
if _base_:
    a = 1
x = _base_.get('y', 1)
#####
_base_ = 'other.py'
y = dict(z=1)
#####
_base_ = []
y = dict(w=2)
deprecation = ''
_deprecation_ = dict(expected='new.py', reference='url')
