//! What can be done by key and from the palette: one table. What the frame does not do itself goes to the view in front.

use eframe::egui::{Event, Key, KeyboardShortcut, Modifiers};

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Find anything: commands, views, files.
    Palette,
    /// Adapter, theme, size, motion, keys.
    Settings,
    /// Open files.
    Open,
    /// Open a folder.
    OpenFolder,
    /// A new config from a recipe.
    New,
    /// The built-in detector on its picture.
    Demo,
    /// Save the config in front.
    Save,
    /// Save it under another name.
    SaveAs,
    /// Save what differs from its bases' parent as a child of it.
    SaveChild,
    /// Copy an address that opens the config in front.
    Link,
    /// Close the config in front.
    Close,
    /// Take back the last edit.
    Undo,
    /// Do it again.
    Redo,
    /// The place before.
    Back,
    /// The place after.
    Forward,
    /// Show or hide the inspector.
    Inspector,
    /// Show or hide the problems.
    Problems,
    /// Messages so far.
    Messages,
    /// A view, by its place in the rail.
    View(usize),
    /// Find in the text.
    Find,
    /// Find and replace.
    Replace,
    /// Names that fit at the caret.
    Complete,
    /// The next problem.
    NextProblem,
    /// The problem before.
    PreviousProblem,
    /// Take the fix of the problem at the caret.
    Fix,
    /// Where the value at the caret comes from.
    Origin,
    /// Compare with another config.
    Compare,
    /// The next region of the window.
    NextRegion,
    /// The region before.
    PreviousRegion,
    /// Run what the view is for.
    Run,
    /// Go on with a training that was cut off.
    Resume,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// What it is called.
    pub name: &'static str,
    /// Its keys; the first is shown.
    pub keys: &'static [KeyboardShortcut],
    /// What it does.
    pub command: Command,
}

const CTRL: Modifiers = Modifiers::COMMAND;
const CTRL_SHIFT: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);
/// Alt is for letters on macOS, so views and completion have Control there.
const MAC_CTRL: Modifiers = Modifiers {
    ctrl: true,
    ..Modifiers::NONE
};

const fn keys(modifiers: Modifiers, key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(modifiers, key)
}

const fn action(name: &'static str, command: Command, keys: &'static [KeyboardShortcut]) -> Action {
    Action {
        name,
        keys,
        command,
    }
}

/// All that has a name.
pub const ACTIONS: &[Action] = &[
    action(
        "Find anything",
        Command::Palette,
        &[keys(CTRL, Key::P), keys(Modifiers::NONE, Key::F1)],
    ),
    action("Open files", Command::Open, &[keys(CTRL, Key::O)]),
    action("Open a folder", Command::OpenFolder, &[]),
    action(
        "New config from a recipe",
        Command::New,
        &[keys(CTRL, Key::N)],
    ),
    action("Try the demo", Command::Demo, &[]),
    action("Save", Command::Save, &[keys(CTRL, Key::S)]),
    action("Save as", Command::SaveAs, &[keys(CTRL_SHIFT, Key::S)]),
    action("Save as a child of its base", Command::SaveChild, &[]),
    #[cfg(target_arch = "wasm32")]
    action("Copy a link to the config", Command::Link, &[]),
    action("Close config", Command::Close, &[keys(CTRL, Key::W)]),
    // the one with more keys first: less would fit it too
    action(
        "Redo",
        Command::Redo,
        &[keys(CTRL_SHIFT, Key::Z), keys(CTRL, Key::Y)],
    ),
    action("Undo", Command::Undo, &[keys(CTRL, Key::Z)]),
    action(
        "Back to the place before",
        Command::Back,
        &[keys(Modifiers::ALT, Key::ArrowLeft)],
    ),
    action(
        "Forward to the place after",
        Command::Forward,
        &[keys(Modifiers::ALT, Key::ArrowRight)],
    ),
    action("Find in the text", Command::Find, &[keys(CTRL, Key::F)]),
    action(
        "Replace in the text",
        Command::Replace,
        &[keys(CTRL, Key::H)],
    ),
    action(
        "Complete the name at the caret",
        Command::Complete,
        &[keys(MAC_CTRL, Key::Space)],
    ),
    action(
        "Previous problem",
        Command::PreviousProblem,
        &[keys(Modifiers::SHIFT, Key::F8)],
    ),
    action(
        "Next problem",
        Command::NextProblem,
        &[keys(Modifiers::NONE, Key::F8)],
    ),
    action(
        "Fix the problem at the caret",
        Command::Fix,
        &[keys(CTRL, Key::Period)],
    ),
    action(
        "Go to where the value comes from",
        Command::Origin,
        &[keys(Modifiers::NONE, Key::F12)],
    ),
    action("Compare with another config", Command::Compare, &[]),
    action(
        "Show or hide the inspector",
        Command::Inspector,
        &[keys(CTRL, Key::I)],
    ),
    action(
        "Show or hide the problems",
        Command::Problems,
        &[keys(CTRL, Key::J)],
    ),
    action(
        "Previous region",
        Command::PreviousRegion,
        &[keys(Modifiers::SHIFT, Key::F6)],
    ),
    action(
        "Next region",
        Command::NextRegion,
        &[keys(Modifiers::NONE, Key::F6)],
    ),
    action("Run", Command::Run, &[keys(CTRL, Key::Enter)]),
    #[cfg(not(target_arch = "wasm32"))]
    action("Resume the training that was cut off", Command::Resume, &[]),
    action("Settings", Command::Settings, &[keys(CTRL, Key::Comma)]),
    action("Messages so far", Command::Messages, &[]),
];

/// Keys of the views, in the order of the rail.
pub const VIEW_KEYS: [KeyboardShortcut; 8] = [
    keys(VIEW, Key::Num1),
    keys(VIEW, Key::Num2),
    keys(VIEW, Key::Num3),
    keys(VIEW, Key::Num4),
    keys(VIEW, Key::Num5),
    keys(VIEW, Key::Num6),
    keys(VIEW, Key::Num7),
    keys(VIEW, Key::Num8),
];
const VIEW: Modifiers = if cfg!(target_os = "macos") {
    MAC_CTRL
} else {
    Modifiers::ALT
};

/// Takes the keys of the table out of what was typed, before any field sees them.
pub fn typed(input: &mut eframe::egui::InputState) -> Vec<Command> {
    let mut commands = Vec::new();
    for action in ACTIONS {
        if action.keys.iter().any(|keys| input.consume_shortcut(keys)) {
            commands.push(action.command);
        }
    }
    for (i, keys) in VIEW_KEYS.iter().enumerate() {
        if input.consume_shortcut(keys) {
            commands.push(Command::View(i));
            // with Alt a figure is still a text, which is no field's
            let figure = keys.logical_key.symbol_or_name();
            let text = |event: &Event| matches!(event, Event::Text(text) if text == figure);
            if let Some(at) = input.events.iter().position(text) {
                input.events.remove(at);
            }
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_commands_share_a_key_or_a_name() {
        let keys: Vec<_> = ACTIONS
            .iter()
            .flat_map(|a| a.keys)
            .chain(&VIEW_KEYS)
            .collect();
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{key:?}");
        }
        for (i, action) in ACTIONS.iter().enumerate() {
            let same = |a: &Action| a.name == action.name || a.command == action.command;
            assert!(!ACTIONS[..i].iter().any(same), "{}", action.name);
        }
    }
}
