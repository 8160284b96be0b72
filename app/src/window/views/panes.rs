//! The centre of a view as panes: moved and stacked by their grips, made larger and smaller, hidden and never destroyed. How they lie is
//! remembered.

use std::collections::BTreeMap;

use eframe::egui::{
    CornerRadius, CursorIcon, Id, Popup, Rect, Role, Sense, Stroke, Style, Ui, Visuals, WidgetInfo,
    WidgetText, vec2,
};
use egui_tiles::{
    Behavior, Container, EditAction, Linear, LinearDir, ResizeState, Tile, TileId, Tiles, Tree,
    UiResponse,
};
use serde::{Deserialize, Serialize};

use crate::window::settings::Settings;
use crate::window::tokens::{BUTTON, Tokens};
use crate::window::widgets;

/// What can be shown in a pane of a view.
pub trait Pane: Copy + PartialEq + 'static {
    /// The view's name, under which it is remembered how its panes lie.
    const VIEW: &'static str;
    /// All of them.
    const ALL: &'static [Self];

    /// What it is called.
    fn name(self) -> &'static str;

    /// How they lie at first.
    fn first() -> Layout;

    /// It alone.
    fn alone(self) -> Layout {
        Layout::Pane(self.name().to_owned())
    }
}

/// How panes lie: what is remembered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Layout {
    /// A pane by its name.
    Pane(String),
    /// One that is hidden where it lies.
    Hidden(Box<Layout>),
    /// Side by side, each with its share of the width.
    Row(Vec<(f32, Layout)>),
    /// One below the other, each with its share of the height.
    Column(Vec<(f32, Layout)>),
    /// Stacked, and which is on top.
    Stack(usize, Vec<Layout>),
}

/// Another number is another form.
const VERSION: u32 = 1;

/// What is remembered of a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    version: u32,
    layout: Layout,
}

/// By view.
pub type AllKept = BTreeMap<String, Kept>;

/// No pane is narrower or lower.
const LEAST: f32 = 160.0;
const GAP: f32 = 4.0;
const GRIP: f32 = 18.0;
/// What the grip takes of a pane's upper right corner.
pub const CORNER: f32 = GRIP + 4.0;

/// The panes of a view.
pub struct Panes<P> {
    tree: Option<Tree<P>>,
    /// It is to be remembered as soon as nothing is dragged.
    changed: bool,
}

impl<P> Default for Panes<P> {
    fn default() -> Self {
        Self {
            tree: None,
            changed: false,
        }
    }
}

impl<P: Pane> Panes<P> {
    /// Lays them as they were last.
    pub fn begin(&mut self, settings: &Settings) {
        if self.tree.is_none() {
            let kept = settings.panes.get(P::VIEW);
            let kept = kept.filter(|kept| kept.version == VERSION);
            let kept = kept.and_then(|kept| tree(&kept.layout));
            self.tree = kept.or_else(|| tree(&P::first()));
        }
    }

    /// Shows them in all the room there is.
    pub fn show(&mut self, ui: &mut Ui, mut show: impl FnMut(&mut Ui, P)) {
        let Some(tree) = &mut self.tree else { return };
        let panes = tree.tiles.iter().filter_map(|(id, tile)| match tile {
            Tile::Pane(pane) => Some((*id, *pane, tree.tiles.is_visible(*id))),
            Tile::Container(_) => None,
        });
        let mut shown = Shown {
            panes: panes.collect(),
            tokens: Tokens::of(ui),
            show: &mut show,
            toggled: None,
            again: false,
            edited: false,
        };
        tree.ui(&mut shown, ui);
        let (toggled, again) = (shown.toggled, shown.again);
        self.changed |= shown.edited || toggled.is_some() || again;
        if let Some(id) = toggled {
            tree.tiles.toggle_visibility(id);
        }
        if again {
            self.tree = self::tree(&P::first());
        }
    }

    /// Remembers how they lie, if that was changed.
    pub fn end(&mut self, ui: &Ui, settings: &mut Settings) {
        let still = !ui.input(|i| i.pointer.any_down());
        let root = self.tree.as_ref().and_then(|t| Some((t, t.root()?)));
        if let (true, true, Some((tree, root))) = (self.changed, still, root)
            && let Some(layout) = layout(&tree.tiles, root)
        {
            self.changed = false;
            let version = VERSION;
            let kept = Kept { version, layout };
            settings.panes.insert(P::VIEW.to_owned(), kept);
        }
    }
}

/// The tree of a layout that has each pane once.
fn tree<P: Pane>(layout: &Layout) -> Option<Tree<P>> {
    let (mut tiles, mut left) = (Tiles::default(), P::ALL.to_vec());
    let root = insert(layout, &mut tiles, &mut left, 0)?;
    let all = left.is_empty();
    all.then(|| Tree::new(Id::unique(P::VIEW), root, tiles))
}

fn insert<P: Pane>(
    layout: &Layout,
    tiles: &mut Tiles<P>,
    left: &mut Vec<P>,
    depth: usize,
) -> Option<TileId> {
    if depth > P::ALL.len() * 2 + 1 {
        return None;
    }
    let mut linear = |dir, children: &[(f32, Layout)]| {
        let mut all = Linear::new(dir, Vec::new());
        for (share, child) in children {
            let id = insert(child, tiles, left, depth + 1)?;
            all.add_child(id);
            let fits = share.is_finite() && *share > 0.0;
            all.shares.set_share(id, if fits { *share } else { 1.0 });
        }
        (!children.is_empty()).then(|| tiles.insert_container(all))
    };
    match layout {
        Layout::Pane(name) => {
            let at = left.iter().position(|pane| pane.name() == name)?;
            Some(tiles.insert_pane(left.remove(at)))
        }
        Layout::Hidden(what) => {
            let id = insert(what, tiles, left, depth + 1)?;
            tiles.set_visible(id, false);
            Some(id)
        }
        Layout::Row(children) => linear(LinearDir::Horizontal, children),
        Layout::Column(children) => linear(LinearDir::Vertical, children),
        Layout::Stack(top, children) => {
            let of = |child| insert(child, tiles, left, depth + 1);
            let children: Vec<TileId> = children.iter().map(of).collect::<Option<_>>()?;
            let top = *children.get(*top).or(children.first())?;
            let id = tiles.insert_tab_tile(children);
            if let Some(Tile::Container(Container::Tabs(tabs))) = tiles.get_mut(id) {
                tabs.set_active(top);
            }
            Some(id)
        }
    }
}

fn layout<P: Pane>(tiles: &Tiles<P>, id: TileId) -> Option<Layout> {
    let shown = match tiles.get(id)? {
        Tile::Pane(pane) => pane.alone(),
        Tile::Container(Container::Tabs(tabs)) => {
            let top = tabs
                .children
                .iter()
                .position(|child| tabs.is_active(*child));
            let children = tabs
                .children
                .iter()
                .filter_map(|child| layout(tiles, *child));
            Layout::Stack(top.unwrap_or(0), children.collect())
        }
        Tile::Container(Container::Linear(linear)) => {
            let share = |id: TileId| {
                let mut shares = linear.shares.iter();
                shares.find(|(of, _)| **of == id).map_or(1.0, |(_, s)| *s)
            };
            let children = linear.children.iter();
            let children = children.filter_map(|id| Some((share(*id), layout(tiles, *id)?)));
            match linear.dir {
                LinearDir::Horizontal => Layout::Row(children.collect()),
                LinearDir::Vertical => Layout::Column(children.collect()),
            }
        }
        Tile::Container(Container::Grid(grid)) => {
            let children = grid
                .children()
                .filter_map(|id| Some((1.0, layout(tiles, *id)?)));
            Layout::Row(children.collect())
        }
    };
    Some(match tiles.is_visible(id) {
        true => shown,
        false => Layout::Hidden(Box::new(shown)),
    })
}

/// One frame.
struct Shown<'a, P> {
    panes: Vec<(TileId, P, bool)>,
    tokens: &'a Tokens,
    show: &'a mut dyn FnMut(&mut Ui, P),
    /// Is to be hidden, or shown again.
    toggled: Option<TileId>,
    /// All are to lie as at first.
    again: bool,
    edited: bool,
}

impl<P: Pane> Shown<'_, P> {
    /// What a pane is moved by; a click opens what else can be done.
    fn grip(&mut self, ui: &Ui, id: TileId, pane: P) -> UiResponse {
        let place = ui.max_rect();
        let corner = place.right_top() + vec2(-CORNER, 4.0);
        let rect = Rect::from_min_size(corner, vec2(GRIP, GRIP));
        let response = ui
            .interact(rect, ui.scope_id().with("grip"), Sense::click_and_drag())
            .on_hover_cursor(CursorIcon::Grab)
            .on_hover_text("Drag to move this pane, click for more");
        let name = format!("Arrange {}", pane.name());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &name));
        let painter = ui.painter();
        if response.hovered() {
            let fill = self.tokens.hover;
            painter.rect_filled(rect, CornerRadius::same(4), fill);
        }
        let color = match response.hovered() {
            true => self.tokens.text,
            false => self.tokens.weak,
        };
        for (x, y) in [
            (-3.0, -4.0),
            (3.0, -4.0),
            (-3.0, 0.0),
            (3.0, 0.0),
            (-3.0, 4.0),
            (3.0, 4.0),
        ] {
            painter.circle_filled(rect.center() + vec2(x, y), 1.25, color);
        }
        widgets::focus_ring(ui, &response);
        let shown = self.panes.iter().filter(|(_, _, visible)| *visible).count();
        Popup::menu(&response).show(|ui| {
            let hide = eframe::egui::Button::new(format!("Hide {}", pane.name()));
            if ui.add_enabled(shown > 1, hide).clicked() {
                self.toggled = Some(id);
            }
            for (hidden, other, visible) in &self.panes {
                if !visible && ui.button(format!("Show {}", other.name())).clicked() {
                    self.toggled = Some(*hidden);
                }
            }
            if ui.button("Panes as at first").clicked() {
                self.again = true;
            }
        });
        match response.drag_started() {
            true => UiResponse::DragStarted,
            false => UiResponse::None,
        }
    }
}

impl<P: Pane> Behavior<P> for Shown<'_, P> {
    fn pane_ui(&mut self, ui: &mut Ui, id: TileId, pane: &mut P) -> UiResponse {
        (self.show)(ui, *pane);
        self.grip(ui, id, *pane)
    }

    fn tab_title_for_pane(&mut self, pane: &P) -> WidgetText {
        pane.name().into()
    }

    fn min_size(&self) -> f32 {
        LEAST
    }

    fn gap_width(&self, _: &Style) -> f32 {
        GAP
    }

    fn tab_bar_height(&self, _: &Style) -> f32 {
        BUTTON
    }

    fn tab_bar_color(&self, _: &Visuals) -> eframe::egui::Color32 {
        self.tokens.panel
    }

    fn resize_stroke(&self, _: &Style, state: ResizeState) -> Stroke {
        match state {
            ResizeState::Idle => Stroke::new(1.0, self.tokens.separator),
            ResizeState::Hovering => Stroke::new(2.0, self.tokens.edge),
            ResizeState::Dragging => Stroke::new(2.0, self.tokens.accent),
        }
    }

    fn on_edit(&mut self, _: EditAction) {
        self.edited = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Part {
        Text,
        Tree,
        Log,
    }

    impl Pane for Part {
        const VIEW: &'static str = "test";
        const ALL: &'static [Self] = &[Self::Text, Self::Tree, Self::Log];

        fn name(self) -> &'static str {
            match self {
                Self::Text => "text",
                Self::Tree => "tree",
                Self::Log => "log",
            }
        }

        fn first() -> Layout {
            let pane = |name: &str| Layout::Pane(name.into());
            let stack = Layout::Stack(1, vec![pane("tree"), pane("log")]);
            Layout::Row(vec![
                (0.55, pane("text")),
                (0.45, Layout::Hidden(Box::new(stack))),
            ])
        }
    }

    #[test]
    fn a_layout_comes_back_as_it_was_and_a_broken_one_is_none() {
        let first = Part::first();
        let made = tree::<Part>(&first).unwrap();
        assert_eq!(layout(&made.tiles, made.root().unwrap()).unwrap(), first);
        let text = serde_json::to_string(&first).unwrap();
        assert_eq!(serde_json::from_str::<Layout>(&text).unwrap(), first);
        let pane = |name: &str| Layout::Pane(name.into());
        for broken in [
            pane("text"),
            Layout::Row(vec![]),
            Layout::Stack(
                0,
                vec![pane("text"), pane("text"), pane("tree"), pane("log")],
            ),
            Layout::Stack(9, vec![]),
            Layout::Column(vec![(1.0, pane("other"))]),
        ] {
            assert!(tree::<Part>(&broken).is_none(), "{broken:?}");
        }
    }
}
