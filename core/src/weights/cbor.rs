//! As much of CBOR (RFC 8949) as burnpack's header needs.

use std::collections::BTreeMap;

/// Nesting deeper than this is refused; burnpack's headers have four levels.
const MAX_DEPTH: usize = 32;
/// More values than this are refused; a tensor takes about ten.
const MAX_VALUES: usize = 2_000_000;

/// One CBOR value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Unsigned(u64),
    Text(String),
    Array(Vec<Value>),
    Map(BTreeMap<String, Value>),
    /// A number, byte string or simple value that no reader of ours looks at.
    Other,
}

impl Value {
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Map(map) => map.get(key),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub fn size(&self) -> Option<usize> {
        match self {
            Self::Unsigned(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }
}

/// Reads one value from the start of `bytes`. On failure: where, and why.
pub(super) fn read(bytes: &[u8]) -> Result<Value, (usize, &'static str)> {
    let mut reader = Reader {
        bytes,
        at: 0,
        values: 0,
    };
    let value = reader.value(MAX_DEPTH);
    value.map_err(|why| (reader.at, why))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Values read so far.
    values: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let end = self.at.checked_add(len).ok_or("a length that overflows")?;
        let taken = self.bytes.get(self.at..end).ok_or("cut short")?;
        self.at = end;
        Ok(taken)
    }

    /// Major type, additional information, and the number that goes with it (None: indefinite length).
    fn head(&mut self) -> Result<(u8, Option<u64>), &'static str> {
        let first = self.take(1)?[0];
        let number = match first & 31 {
            small @ 0..=23 => u64::from(small),
            code @ 24..=27 => {
                let bytes = self.take(1 << (code - 24))?;
                bytes.iter().fold(0, |n, &byte| n << 8 | u64::from(byte))
            }
            31 => return Ok((first >> 5, None)),
            _ => return Err("a reserved length code"),
        };
        Ok((first >> 5, Some(number)))
    }

    /// Is the next byte the end of something of indefinite length? Then steps over it.
    fn at_break(&mut self) -> bool {
        let is_break = self.bytes.get(self.at) == Some(&0xff);
        self.at += usize::from(is_break);
        is_break
    }

    fn value(&mut self, depth: usize) -> Result<Value, &'static str> {
        let depth = depth.checked_sub(1).ok_or("nested too deep")?;
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err("too many values");
        }
        let (major, number) = self.head()?;
        let more = |reader: &mut Self, done: u64| match number {
            Some(count) => done < count,
            None => !reader.at_break(),
        };
        match (major, number) {
            (0, Some(number)) => Ok(Value::Unsigned(number)),
            (2 | 3, Some(len)) => {
                let len = usize::try_from(len).map_err(|_| "a length that overflows")?;
                let bytes = self.take(len)?;
                if major == 2 {
                    return Ok(Value::Other);
                }
                let text = std::str::from_utf8(bytes).map_err(|_| "text that is not UTF-8")?;
                Ok(Value::Text(text.to_owned()))
            }
            // A count is never used to reserve memory: each item takes at least one byte.
            (4, _) => {
                let mut items = Vec::new();
                while more(self, items.len() as u64) {
                    items.push(self.value(depth)?);
                }
                Ok(Value::Array(items))
            }
            (5, _) => {
                let mut map = BTreeMap::new();
                let mut done = 0;
                while more(self, done) {
                    let Value::Text(key) = self.value(depth)? else {
                        return Err("a map key that is no text");
                    };
                    map.insert(key, self.value(depth)?);
                    done += 1;
                }
                Ok(Value::Map(map))
            }
            (6, Some(_tag)) => self.value(depth),
            (1 | 7, Some(_)) => Ok(Value::Other),
            _ => Err("an indefinite length where none may be"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_header_needs() {
        // {"a": [1, 300], "b": {_ "c": "d"}, "e": -1, "f": tag 1 (70000)}
        let bytes = b"\xa4\x61a\x82\x01\x19\x01\x2c\x61b\xbf\x61c\x61d\xff\x61e\x20\x61f\xc1\x1a\x00\x01\x11\x70";
        let value = read(bytes).unwrap();
        let sizes = value.get("a").and_then(Value::array).unwrap();
        assert_eq!(sizes[1].size(), Some(300));
        assert_eq!(value.get("b").unwrap().get("c").unwrap().text(), Some("d"));
        assert_eq!(value.get("e"), Some(&Value::Other));
        assert_eq!(value.get("f").unwrap().size(), Some(70000));
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn hostile_headers_are_refused() {
        assert_eq!(read(&[0x81; 1000]), Err((32, "nested too deep")));
        assert_eq!(
            read(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"),
            Err((9, "cut short"))
        );
        assert_eq!(
            read(b"\x7b\xff\xff\xff\xff\xff\xff\xff\xff"),
            Err((9, "a length that overflows"))
        );
        let flood = [&b"\x9a\xff\xff\xff\xff"[..], &b"\x80".repeat(MAX_VALUES)].concat();
        assert_eq!(read(&flood).unwrap_err().1, "too many values");
        assert_eq!(read(b"\xa1\x01\x01"), Err((2, "a map key that is no text")));
    }
}
