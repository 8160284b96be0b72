//! [`Turns`]: what is typed in one frame, in its order. The editor looks for its own keys before its widget takes texts; a frame of a slow machine may
//! have both.

use eframe::egui::{Event, Key, Ui};

/// What is left of a frame's events for those that follow.
#[derive(Default)]
pub struct Turns {
    left: Vec<Event>,
}

impl Turns {
    /// Leaves in this frame's events one of the editor's keys at most, with no text before it.
    pub fn take(&mut self, ui: &Ui) {
        let left = std::mem::take(&mut self.left);
        self.left = ui.input_mut(|input| {
            let events = &mut input.events;
            events.splice(0..0, left);
            let mut own = (0..events.len()).filter(|i| is_own(&events[*i]));
            let end = match own.next() {
                Some(first) if events[..first].iter().any(is_typed) => Some(first),
                Some(_) => own.next(),
                None => None,
            };
            end.map_or_else(Vec::new, |end| events.split_off(end))
        });
        if !self.left.is_empty() {
            ui.ctx().request_repaint();
        }
    }

    /// Forgets what is left: nobody waits for it.
    pub fn clear(&mut self) {
        self.left.clear();
    }
}

/// Whether the editor takes it before its widget may.
fn is_own(event: &Event) -> bool {
    match event {
        Event::Key {
            key: Key::Enter | Key::Tab,
            pressed: true,
            ..
        } => true,
        Event::Key {
            key: Key::Slash,
            pressed: true,
            modifiers,
            ..
        } => modifiers.command,
        _ => false,
    }
}

/// Whether it changes the text, or where the caret is.
fn is_typed(event: &Event) -> bool {
    match event {
        Event::Text(_) | Event::Paste(_) | Event::Cut => true,
        Event::Key { key, pressed, .. } => {
            let moves = [
                Key::ArrowDown,
                Key::ArrowLeft,
                Key::ArrowRight,
                Key::ArrowUp,
                Key::Backspace,
                Key::Delete,
                Key::End,
                Key::Home,
            ];
            *pressed && moves.contains(key)
        }
        _ => false,
    }
}
