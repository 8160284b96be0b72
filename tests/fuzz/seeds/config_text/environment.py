a = '{{$SET:0}}'
b = {{$SET:0}}
c = "{{ $TEXT:x }}" + '''{{$NONE:d}}'''
d = '{{fileDirname}}/{{ fileBasename }} {{fileBasenameNoExtension}}{{fileExtname}}'
import os
e = os.environ.get('SET', '2')
f = os.getenv('EMPTY')
g = int(os.environ['SET'])
