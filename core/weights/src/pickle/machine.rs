//! The stack machine: opcodes in, nodes out. See Python's `pickletools` for what each opcode does.

use std::collections::HashMap;
use std::ops::Range;

use super::budget::Budget;
use super::text;
use super::value::{Id, Node, Object, Pickle};
use crate::error::CheckpointError;

/// At most so many values on the stack, and marks.
const MAX_STACK: usize = 4_000_000;
/// What an opcode costs, in the budget's steps.
const OPCODE: usize = 8;
/// What an item kept in a container costs: some 15 million may be kept, at 4 bytes each.
const ITEM: usize = 64;
/// What a byte of text with escapes costs, as it is decoded and kept at once: up to 250 MB.
const DECODED: usize = 4;
/// A text line (a number, a name) is at most this long; strings may be longer.
const MAX_LINE: usize = 4096;

/// Reads the pickle that starts at `start`. Ranges in the result count from the start of `bytes`.
pub(crate) fn parse<'a>(
    bytes: &'a [u8],
    start: usize,
    budget: &Budget,
) -> Result<Pickle<'a>, CheckpointError> {
    // Ranges are 32-bit numbers to keep nodes small; no pickle is that long.
    let bytes = &bytes[..bytes.len().min(u32::MAX as usize)];
    let mut machine = Machine {
        bytes,
        at: start,
        nodes: vec![
            Node::None,
            Node::Bool(true),
            Node::Bool(false),
            Node::Tuple(Box::new([])),
        ],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        budget: budget.clone(),
    };
    loop {
        let opcode_at = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => {
                return Ok(Pickle {
                    bytes,
                    nodes: machine.nodes,
                    root,
                    end: machine.at,
                    budget: machine.budget,
                });
            }
            Err(Fault::TooLarge(what)) => {
                budget.check()?;
                return Err(CheckpointError::TooLarge {
                    what: format!("a pickle with more {what} than any checkpoint has"),
                    limit: match what {
                        NODES | MEMO => budget.most(),
                        _ => MAX_STACK,
                    } as u64,
                });
            }
            Err(Fault::Bad(why)) => {
                return Err(CheckpointError::malformed("pickle", opcode_at, why));
            }
        }
    }
}

const NODES: &str = "values";
const MEMO: &str = "memo entries";
const STEPS: &str = "steps";

enum Fault {
    Bad(String),
    TooLarge(&'static str),
}

impl From<&str> for Fault {
    fn from(why: &str) -> Self {
        Self::Bad(why.to_owned())
    }
}

type Step<T> = Result<T, Fault>;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack; values below the last one are out of reach, as in Python.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    budget: Budget,
}

impl Machine<'_> {
    /// Runs one opcode; gives the result at STOP.
    fn step(&mut self) -> Step<Option<Id>> {
        self.spend(OPCODE)?;
        match self.byte()? {
            b'.' => {
                let root = self.pop()?;
                return Ok(Some(root));
            }
            // Protocol number and frames only help Python to read in larger pieces.
            0x80 => {
                let version = self.byte()?;
                if version > 5 {
                    return Err(Fault::Bad(format!("pickle protocol {version}")));
                }
            }
            0x95 => {
                let len = self.number(8)?;
                if len > (self.bytes.len() - self.at) as u64 {
                    return Err("a frame reaches beyond the end".into());
                }
            }

            // The stack and the memo.
            b'(' => {
                if self.marks.len() >= MAX_STACK {
                    return Err(Fault::TooLarge("marks"));
                }
                self.marks.push(self.stack.len());
            }
            b'0' => {
                // POP also takes back a mark.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push(top)?;
            }
            b'g' => {
                let index = self.decimal()?;
                self.get(index)?;
            }
            b'h' => self.get_sized(1)?,
            b'j' => self.get_sized(4)?,
            b'p' => {
                let index = self.decimal()?;
                self.put(index)?;
            }
            b'q' => self.put_sized(1)?,
            b'r' => self.put_sized(4)?,
            0x94 => self.put(self.memo.len() as u64)?,

            // Plain values.
            b'N' => self.push(Id::NONE)?,
            0x88 => self.push(Id::TRUE)?,
            0x89 => self.push(Id::FALSE)?,
            b'I' => match self.line(MAX_LINE)? {
                b"00" => self.push(Id::FALSE)?,
                b"01" => self.push(Id::TRUE)?,
                digits => {
                    let node = integer_from_text(digits)?;
                    self.push_node(node)?;
                }
            },
            b'L' => {
                let line = self.line(self.bytes.len())?;
                let node = integer_from_text(line.strip_suffix(b"L").unwrap_or(line))?;
                self.push_node(node)?;
            }
            b'J' => {
                let value = self.number(4)? as u32 as i32;
                self.push_node(Node::Int(i64::from(value)))?;
            }
            b'K' => self.push_unsigned(1)?,
            b'M' => self.push_unsigned(2)?,
            0x8a => self.push_long(1)?,
            0x8b => self.push_long(4)?,
            b'F' => {
                let line = self.line(MAX_LINE)?;
                let value = std::str::from_utf8(line).ok().and_then(|t| t.parse().ok());
                self.push_node(Node::Float(value.ok_or("not a float")?))?;
            }
            b'G' => {
                let bits = self.number(8)?.swap_bytes();
                self.push_node(Node::Float(f64::from_bits(bits)))?;
            }
            b'S' => {
                let line = self.decoded_line()?;
                let value = text::unquote(line).ok_or("a string without its quotes")?;
                self.push_node(Node::OwnedStr8(value.into()))?;
            }
            b'V' => {
                let line = self.decoded_line()?;
                let value = text::raw_unicode(line).ok_or("a broken \\u escape")?;
                self.push_node(Node::OwnedText(value.into()))?;
            }
            b'U' => self.push_range(1, Node::Str8)?,
            b'T' => self.push_range(4, Node::Str8)?,
            0x8c => self.push_range(1, Node::Text)?,
            b'X' => self.push_range(4, Node::Text)?,
            0x8d => self.push_range(8, Node::Text)?,
            b'C' => self.push_range(1, Node::Bytes)?,
            b'B' => self.push_range(4, Node::Bytes)?,
            0x8e | 0x96 => self.push_range(8, Node::Bytes)?,
            // Out-of-band buffers are given beside the pickle: here there are none.
            0x97 => self.push_node(Node::Opaque)?,
            0x98 => {}

            // Containers.
            b')' => self.push(Id::EMPTY_TUPLE)?,
            b't' => {
                let items = self.pop_mark()?;
                self.push_node(Node::Tuple(items.into()))?;
            }
            count @ 0x85..=0x87 => {
                let from = self.reachable(usize::from(count - 0x84))?;
                let items = self.stack.drain(from..).collect();
                self.push_node(Node::Tuple(items))?;
            }
            b']' => self.push_node(Node::List(Vec::new()))?,
            b'l' => {
                let items = self.pop_mark()?;
                self.push_node(Node::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b'}' => self.push_node(Node::Dict(Vec::new()))?,
            b'd' => {
                let pairs = pairs(self.pop_mark()?)?;
                self.push_node(Node::Dict(pairs))?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(vec![(key, value)])?;
            }
            b'u' => {
                let pairs = pairs(self.pop_mark()?)?;
                self.set_items(pairs)?;
            }
            0x8f => self.push_node(Node::Set(Vec::new()))?,
            0x90 => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            0x91 => {
                let items = self.pop_mark()?;
                self.push_node(Node::Set(items))?;
            }

            // Names and calls: remembered, never made.
            b'c' => {
                let global = self.global_lines()?;
                self.push(global)?;
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                self.push_node(Node::Global(module, name))?;
            }
            // NEWOBJ makes the same two-part object as a call.
            b'R' | 0x81 => {
                let args = self.pop()?;
                let callable = self.pop()?;
                self.push_object(callable, args)?;
            }
            0x92 => {
                let _keywords = self.pop()?;
                let args = self.pop()?;
                let callable = self.pop()?;
                self.push_object(callable, args)?;
            }
            b'i' => {
                let args = self.pop_mark()?;
                let global = self.global_lines()?;
                let args = self.add(Node::Tuple(args.into()))?;
                self.push_object(global, args)?;
            }
            b'o' => {
                let mut args = self.pop_mark()?;
                if args.is_empty() {
                    return Err("an object without a class".into());
                }
                let class = args.remove(0);
                let args = self.add(Node::Tuple(args.into()))?;
                self.push_object(class, args)?;
            }
            b'b' => {
                let state = self.pop()?;
                let top = self.top()?;
                match self.nodes.get_mut(top.0 as usize) {
                    Some(Node::Object(object)) => object.state = Some(state),
                    // A state for something that is itself unknown.
                    Some(Node::Persistent(_) | Node::Opaque | Node::Global(..)) => {}
                    _ => return Err("a state for a plain value".into()),
                }
            }
            code @ 0x82..=0x84 => {
                self.take([1, 2, 4][usize::from(code - 0x82)])?;
                self.push_node(Node::Opaque)?;
            }
            b'P' => {
                let line = self.line(MAX_LINE)?;
                let name = Node::OwnedStr8(line.into());
                let name = self.add(name)?;
                self.push_node(Node::Persistent(name))?;
            }
            b'Q' => {
                let identifier = self.pop()?;
                self.push_node(Node::Persistent(identifier))?;
            }
            other => return Err(Fault::Bad(format!("unknown opcode 0x{other:02x}"))),
        }
        Ok(None)
    }

    // Reading.

    fn take(&mut self, len: usize) -> Step<Range<usize>> {
        let end = self.at.checked_add(len).filter(|&e| e <= self.bytes.len());
        let end = end.ok_or("the pickle ends in the middle: the file is cut short")?;
        let range = self.at..end;
        self.at = end;
        Ok(range)
    }

    fn byte(&mut self) -> Step<u8> {
        let range = self.take(1)?;
        Ok(self.bytes[range.start])
    }

    /// A little-endian number of at most 8 bytes.
    fn number(&mut self, len: usize) -> Step<u64> {
        let mut bytes = [0; 8];
        let range = self.take(len)?;
        bytes[..len].copy_from_slice(&self.bytes[range]);
        Ok(u64::from_le_bytes(bytes))
    }

    /// The rest of the line, without its end.
    fn line(&mut self, max: usize) -> Step<&[u8]> {
        let rest = &self.bytes[self.at..];
        let rest = &rest[..rest.len().min(max.saturating_add(1))];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let end = end.ok_or("a text line without an end")?;
        self.at += end + 1;
        let line = &rest[..end];
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// A line of any length whose text is about to be decoded.
    fn decoded_line(&mut self) -> Step<&[u8]> {
        let budget = self.budget.clone();
        let line = self.line(self.bytes.len())?;
        let paid = budget.spend(line.len().saturating_mul(DECODED));
        paid.map(|()| line).ok_or(Fault::TooLarge(STEPS))
    }

    fn decimal(&mut self) -> Step<u64> {
        let line = self.line(MAX_LINE)?;
        let number = std::str::from_utf8(line).ok().and_then(|t| t.parse().ok());
        Ok(number.ok_or("not a memo number")?)
    }

    /// Module and name on two lines.
    fn global_lines(&mut self) -> Step<Id> {
        let mut ids = [Id::NONE; 2];
        for id in &mut ids {
            let start = self.at;
            let len = self.line(MAX_LINE)?.len();
            *id = self.add(Node::Str8(start as u32..(start + len) as u32))?;
        }
        self.add(Node::Global(ids[0], ids[1]))
    }

    // Pushing.

    fn add(&mut self, node: Node) -> Step<Id> {
        self.budget.add_node().ok_or(Fault::TooLarge(NODES))?;
        self.nodes.push(node);
        Ok(Id((self.nodes.len() - 1) as u32))
    }

    fn spend(&self, steps: usize) -> Step<()> {
        self.budget.spend(steps).ok_or(Fault::TooLarge(STEPS))
    }

    fn push(&mut self, id: Id) -> Step<()> {
        if self.stack.len() >= MAX_STACK {
            return Err(Fault::TooLarge("values on its stack"));
        }
        self.stack.push(id);
        Ok(())
    }

    fn push_node(&mut self, node: Node) -> Step<()> {
        let id = self.add(node)?;
        self.push(id)
    }

    fn push_object(&mut self, callable: Id, args: Id) -> Step<()> {
        self.push_node(Node::Object(Box::new(Object {
            callable,
            args,
            state: None,
            items: Vec::new(),
            list: Vec::new(),
        })))
    }

    fn push_unsigned(&mut self, len: usize) -> Step<()> {
        let value = self.number(len)?;
        self.push_node(Node::Int(value as i64))
    }

    /// A two's complement number of any length.
    fn push_long(&mut self, len_bytes: usize) -> Step<()> {
        let len = self.number(len_bytes)?;
        let range = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        let bytes = &self.bytes[range];
        let negative = bytes.last().is_some_and(|&byte| byte & 0x80 != 0);
        let fill = if negative { 0xff } else { 0 };
        let mut value = [fill; 8];
        let kept = bytes.len().min(8);
        value[..kept].copy_from_slice(&bytes[..kept]);
        let value = i64::from_le_bytes(value);
        let fits = bytes[kept..].iter().all(|&byte| byte == fill) && (value < 0) == negative;
        self.push_node(if fits { Node::Int(value) } else { Node::BigInt })
    }

    /// Bytes or text with their length before them: they stay where they are.
    fn push_range(&mut self, len_bytes: usize, node: fn(Range<u32>) -> Node) -> Step<()> {
        let len = self.number(len_bytes)?;
        let range = self.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        self.push_node(node(range.start as u32..range.end as u32))
    }

    // Popping.

    /// The index of the `count`-th value from the top, if it is above the last mark.
    fn reachable(&self, count: usize) -> Step<usize> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let index = self.stack.len().checked_sub(count);
        Ok(index
            .filter(|&index| index >= floor)
            .ok_or("the stack is empty")?)
    }

    fn top(&self) -> Step<Id> {
        Ok(self.stack[self.reachable(1)?])
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Step<Vec<Id>> {
        let from = self.marks.pop().ok_or("no mark on the stack")?;
        let items = self.stack.split_off(from.min(self.stack.len()));
        // Nearly all of them are kept by the caller.
        self.spend(ITEM.saturating_mul(items.len()))?;
        Ok(items)
    }

    // The memo.

    fn put_sized(&mut self, len: usize) -> Step<()> {
        let index = self.number(len)?;
        self.put(index)
    }

    fn put(&mut self, index: u64) -> Step<()> {
        let top = self.top()?;
        if self.memo.len() >= self.budget.most() {
            return Err(Fault::TooLarge(MEMO));
        }
        self.memo.insert(index, top);
        Ok(())
    }

    fn get_sized(&mut self, len: usize) -> Step<()> {
        let index = self.number(len)?;
        self.get(index)
    }

    fn get(&mut self, index: u64) -> Step<()> {
        let id = self.memo.get(&index).copied();
        let id = id.ok_or_else(|| Fault::Bad(format!("memo entry {index} was never made")))?;
        self.push(id)
    }

    // Filling what is on top of the stack.

    fn append(&mut self, items: &[Id]) -> Step<()> {
        let top = self.top()?;
        match self.nodes.get_mut(top.0 as usize) {
            Some(Node::List(list) | Node::Set(list)) => list.extend(items),
            Some(Node::Object(object)) => object.list.extend(items),
            Some(Node::Opaque | Node::Persistent(_)) => {}
            _ => return Err("items for something that is no list".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, pairs: Vec<(Id, Id)>) -> Step<()> {
        let top = self.top()?;
        match self.nodes.get_mut(top.0 as usize) {
            Some(Node::Dict(dict)) => dict.extend(pairs),
            Some(Node::Object(object)) => object.items.extend(pairs),
            Some(Node::Opaque | Node::Persistent(_)) => {}
            _ => return Err("items for something that is no dict".into()),
        }
        Ok(())
    }
}

fn pairs(items: Vec<Id>) -> Step<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("a key without a value".into());
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}

fn integer_from_text(digits: &[u8]) -> Step<Node> {
    let text = std::str::from_utf8(digits).map_err(|_| "not a number")?;
    let text = text.trim();
    if let Ok(value) = text.parse() {
        return Ok(Node::Int(value));
    }
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not a number".into());
    }
    Ok(Node::BigInt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pickle::budget::MAX_NODES;

    fn shown(bytes: &[u8]) -> String {
        match parse(bytes, 0, &Budget::new()) {
            Ok(pickle) => pickle.render(pickle.root, 400),
            Err(error) => error.to_string(),
        }
    }

    /// What Python 3.12's `pickle.dumps(value, protocol)` writes, for every protocol.
    #[test]
    fn the_same_value_in_every_protocol() {
        // {'a': (1, 2.5, None), 'b': [True, -3]}
        let zero = b"(dp0\nVa\np1\n(I1\nF2.5\nNtp2\nsVb\np3\n(lp4\nI01\naI-3\nas.";
        let one = b"}q\x00(X\x01\x00\x00\x00aq\x01(K\x01G@\x04\x00\x00\x00\x00\x00\x00Ntq\x02X\x01\x00\x00\x00bq\x03]q\x04(I01\nJ\xfd\xff\xff\xffeu.";
        let two = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x87q\x02X\x01\x00\x00\x00bq\x03]q\x04(\x88J\xfd\xff\xff\xffeu.";
        let four = b"\x80\x04\x95\x22\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94K\x01G@\x04\x00\x00\x00\x00\x00\x00N\x87\x94\x8c\x01b\x94]\x94(\x88J\xfd\xff\xff\xffeu.";
        for bytes in [&zero[..], one, two, four] {
            assert_eq!(shown(bytes), "{'a': (1, 2.5, None), 'b': [True, -3]}");
        }
    }

    #[test]
    fn integers_of_any_size() {
        assert_eq!(shown(b"\x8a\x00."), "0");
        assert_eq!(shown(b"\x8a\x01\xff."), "-1");
        assert_eq!(
            shown(b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\x00."),
            i64::MAX.to_string()
        );
        assert_eq!(
            shown(b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."),
            i64::MIN.to_string()
        );
        let big = "<an integer beyond 64 bits>";
        assert_eq!(shown(b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00."), big);
        assert_eq!(shown(b"L123456789012345678901234567890L\n."), big);
        assert_eq!(shown(b"L-12L\n."), "-12");
        assert!(shown(b"Lx\n.").contains("not a number"));
    }

    #[test]
    fn calls_are_kept_and_not_made() {
        let pickle = b"cos\nsystem\n(S'rm -rf /'\ntR.";
        assert_eq!(shown(pickle), "<os.system>");
        assert_eq!(shown(b"(S'x'\nios\nsystem\n."), "<os.system>");
        assert_eq!(shown(b"(cos\nsystem\nS'x'\no."), "<os.system>");
        assert_eq!(
            shown(b"\x80\x04\x8c\x02os\x8c\x06system\x93)\x81."),
            "<os.system>"
        );
        assert_eq!(shown(b"cos\nsystem\n."), "<class os.system>");
    }

    #[test]
    fn a_list_that_contains_itself_is_shown_with_an_end() {
        let shown = shown(b"]q\x00h\x00a.");
        assert_eq!(shown, "[[[[[[[...]]]]]]]");
    }

    #[test]
    fn broken_pickles_say_where() {
        for (bytes, message) in [
            (
                &b""[..],
                "damaged pickle at byte 0: the pickle ends in the middle: the file is cut short",
            ),
            (b".", "damaged pickle at byte 0: the stack is empty"),
            (b"N(.", "damaged pickle at byte 2: the stack is empty"),
            (
                b"h\x07.",
                "damaged pickle at byte 0: memo entry 7 was never made",
            ),
            (b"Nt.", "damaged pickle at byte 1: no mark on the stack"),
            (b"(Nd.", "damaged pickle at byte 2: a key without a value"),
            (
                b"NNa.",
                "damaged pickle at byte 2: items for something that is no list",
            ),
            (b"\x80\x09.", "damaged pickle at byte 0: pickle protocol 9"),
            (b"\xff", "damaged pickle at byte 0: unknown opcode 0xff"),
            (
                b"B\xff\xff\xff\xffabc",
                "damaged pickle at byte 0: the pickle ends in the middle: the file is cut short",
            ),
            (
                b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff",
                "damaged pickle at byte 0: the pickle ends in the middle: the file is cut short",
            ),
            (
                b"\x95\xff\xff\xff\xff\xff\xff\xff\xff",
                "damaged pickle at byte 0: a frame reaches beyond the end",
            ),
            (
                b"}}b.",
                "damaged pickle at byte 2: a state for a plain value",
            ),
        ] {
            assert_eq!(shown(bytes), message);
        }
    }

    #[test]
    fn nesting_and_floods_are_bounded() {
        // Ten thousand lists in each other: parsed, shown and dropped without recursion.
        let mut nested = b"]".repeat(10_000);
        nested.extend(b"a".repeat(9_999));
        nested.push(b'.');
        assert_eq!(shown(&nested), "[[[[[[[...]]]]]]]");
        let refused = |message: String| message.starts_with("refused: a pickle with more");
        assert!(refused(shown(&b"]".repeat(MAX_NODES + 1))));
        assert!(refused(shown(&b"(".repeat(MAX_STACK + 1))));
        assert!(refused(shown(
            &[b"N".to_vec(), b"2".repeat(MAX_STACK + 1)].concat()
        )));
        assert!(refused(shown(
            &[b"N".to_vec(), b"\x94".repeat(MAX_NODES + 1)].concat()
        )));
    }
}
