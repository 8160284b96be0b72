//! Colours, sizes and fonts, dark and light; and how egui takes them. Nothing else in the window names a colour.

use std::sync::Arc;

use eframe::egui::{
    self, Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Stroke, TextStyle,
    Theme, Visuals,
};

/// The colours of one theme. Names say what they are for.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    /// Behind everything.
    pub canvas: Color32,
    /// Bars and panes.
    pub panel: Color32,
    /// Buttons, headers.
    pub raised: Color32,
    /// Under the pointer.
    pub hover: Color32,
    /// While the button is down.
    pub pressed: Color32,
    /// Menus, cards, toasts.
    pub popup: Color32,
    /// Fields and code.
    pub field: Color32,
    /// What is selected, with the keyboard there.
    pub selection: Color32,
    /// What is selected elsewhere.
    pub idle: Color32,
    /// What is read first.
    pub text: Color32,
    /// What is read next.
    pub soft: Color32,
    /// What may be overlooked.
    pub weak: Color32,
    /// What can be done; focus.
    pub accent: Color32,
    /// Cannot be used.
    pub error: Color32,
    /// Probably not meant so.
    pub warning: Color32,
    /// Worth knowing.
    pub note: Color32,
    /// As it should be.
    pub ok: Color32,
    /// Text on the accent.
    pub on_accent: Color32,
    /// Between panes.
    pub separator: Color32,
    /// Around fields.
    pub edge: Color32,
    /// Code: keys, strings, numbers, keywords, types.
    pub code: [Color32; 5],
}

const fn rgb(hex: u32) -> Color32 {
    Color32::from_rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

/// Colours of values between 0 and 1, the same in both themes: the lighter the larger, in even steps to the eye, from violet over green to yellow
/// (OKLab, Ottosson 2020).
pub fn ramp(share: f32) -> Color32 {
    let share = share.clamp(0.0, 1.0);
    let lightness = 0.22 + 0.72 * share;
    let hue = (290.0 - 185.0 * share).to_radians();
    let chroma = 0.1 + 0.06 * share * share;
    let (a, b) = (chroma * hue.cos(), chroma * hue.sin());
    let [l, m, s] = [
        lightness + 0.396_337_78 * a + 0.215_803_76 * b,
        lightness - 0.105_561_346 * a - 0.063_854_17 * b,
        lightness - 0.089_484_18 * a - 1.291_485_5 * b,
    ]
    .map(|v| v.powi(3));
    let [red, green, blue] = [
        4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s,
        -1.268_438 * l + 2.609_757_4 * m - 0.341_319_38 * s,
        -0.004_196_086 * l - 0.703_418_6 * m + 1.707_614_7 * s,
    ]
    .map(|v| {
        let v = v.clamp(0.0, 1.0);
        let v = if v <= 0.003_130_8 {
            12.92 * v
        } else {
            1.055 * v.powf(1.0 / 2.4) - 0.055
        };
        (v * 255.0).round() as u8
    });
    Color32::from_rgb(red, green, blue)
}

/// The dark theme.
pub const DARK: Tokens = Tokens {
    canvas: rgb(0x151619),
    panel: rgb(0x1C1D22),
    raised: rgb(0x26282E),
    hover: rgb(0x30333B),
    pressed: rgb(0x383C45),
    popup: rgb(0x2A2C33),
    field: rgb(0x131417),
    selection: rgb(0x1A3962),
    idle: rgb(0x2E343F),
    text: rgb(0xE6E8EC),
    soft: rgb(0xBEC3CD),
    weak: rgb(0xA6ADB9),
    accent: rgb(0x7DB6FF),
    error: rgb(0xFF9080),
    warning: rgb(0xF5B94B),
    note: rgb(0x9CC3D6),
    ok: rgb(0x7ED08F),
    on_accent: rgb(0x0B1522),
    separator: rgb(0x363A43),
    edge: rgb(0x858C99),
    code: [
        rgb(0x9CC8FF),
        rgb(0xA9D18E),
        rgb(0xE6B673),
        rgb(0xD7A3E8),
        rgb(0x6FD3C7),
    ],
};

/// The light theme.
pub const LIGHT: Tokens = Tokens {
    canvas: rgb(0xE7E8EA),
    panel: rgb(0xF6F7F8),
    raised: rgb(0xECEEF1),
    hover: rgb(0xE2E5EA),
    pressed: rgb(0xD5DAE1),
    popup: rgb(0xFFFFFF),
    field: rgb(0xFFFFFF),
    selection: rgb(0xCFE2FF),
    idle: rgb(0xDDE2EA),
    text: rgb(0x1A1C21),
    soft: rgb(0x3F454F),
    weak: rgb(0x545B66),
    accent: rgb(0x0A54B0),
    error: rgb(0xA91E0E),
    warning: rgb(0x7A4A00),
    note: rgb(0x22566E),
    ok: rgb(0x17612B),
    on_accent: rgb(0xFFFFFF),
    separator: rgb(0xD3D7DD),
    edge: rgb(0x727985),
    code: [
        rgb(0x0A4F9E),
        rgb(0x2F6410),
        rgb(0x8A4300),
        rgb(0x7B2A96),
        rgb(0x0A5F57),
    ],
};

/// On pictures: objects that are not to be learned.
pub const IGNORED: Color32 = rgb(0xB8B8B8);
/// On pictures: objects that a transform left out.
pub const DROPPED: Color32 = rgb(0xFF6B5E);

/// Ticks and badges.
pub const SMALL: f32 = 11.0;
/// Body and code.
pub const BODY: f32 = 13.0;
/// Headings.
pub const HEADING: f32 = 15.0;
/// Empty states.
pub const LARGE: f32 = 20.0;
/// A row of a list.
pub const ROW: f32 = 24.0;
/// Buttons and tabs.
pub const BUTTON: f32 = 28.0;
/// What a finger finds: buttons in a narrow window.
pub const TOUCH: f32 = 44.0;

impl Tokens {
    /// Those of the theme in use.
    pub fn of(ui: &egui::Ui) -> &'static Self {
        if ui.visuals().dark_mode {
            &DARK
        } else {
            &LIGHT
        }
    }

    fn visuals(&self, mut visuals: Visuals) -> Visuals {
        let (stroke, radius) = (|color| Stroke::new(1.0, color), CornerRadius::same(4));
        let widgets = &mut visuals.widgets;
        for (widget, fill, edge, text) in [
            (
                &mut widgets.noninteractive,
                self.panel,
                self.separator,
                self.text,
            ),
            (
                &mut widgets.inactive,
                self.raised,
                self.separator,
                self.text,
            ),
            (&mut widgets.hovered, self.hover, self.edge, self.text),
            (&mut widgets.active, self.pressed, self.accent, self.text),
            (&mut widgets.open, self.pressed, self.edge, self.text),
        ] {
            widget.bg_fill = fill;
            widget.weak_bg_fill = fill;
            widget.bg_stroke = stroke(edge);
            widget.fg_stroke = stroke(text);
            widget.corner_radius = radius;
            widget.expansion = 0.0;
        }
        // what is dragged or ticked is seen by its edge
        widgets.inactive.bg_stroke = stroke(self.separator);
        visuals.weak_text_color = Some(self.weak);
        visuals.selection.bg_fill = self.selection;
        visuals.selection.stroke = stroke(self.accent);
        visuals.hyperlink_color = self.accent;
        visuals.faint_bg_color = self.raised;
        visuals.extreme_bg_color = self.field;
        visuals.text_edit_bg_color = Some(self.field);
        visuals.code_bg_color = self.field;
        visuals.warn_fg_color = self.warning;
        visuals.error_fg_color = self.error;
        visuals.panel_fill = self.panel;
        visuals.window_fill = self.popup;
        visuals.window_stroke = stroke(self.separator);
        visuals.window_corner_radius = CornerRadius::same(6);
        visuals.menu_corner_radius = CornerRadius::same(6);
        visuals.text_cursor.stroke = Stroke::new(2.0, self.accent);
        visuals.striped = false;
        visuals
    }
}

/// Inter for text and Hack for code; once for a window.
pub fn set_fonts(ctx: &egui::Context) {
    let mut fonts = FontDefinitions::default();
    let inter = FontData::from_static(include_bytes!("../../fonts/Inter-Medium.otf"));
    fonts.font_data.insert("Inter".into(), Arc::new(inter));
    fonts
        .families
        .entry(FontFamily::Proportional)
        .or_default()
        .insert(0, "Inter".into());
    ctx.set_fonts(fonts);
}

/// Gives egui both themes.
pub fn set_styles(ctx: &egui::Context, reduce_motion: bool) {
    for (theme, tokens) in [(Theme::Dark, &DARK), (Theme::Light, &LIGHT)] {
        ctx.style_mut_of(theme, |style| {
            let base = if theme == Theme::Dark {
                Visuals::dark()
            } else {
                Visuals::light()
            };
            style.visuals = tokens.visuals(base);
            style.animation_time = if reduce_motion { 0.0 } else { 0.1 };
            style.visuals.text_cursor.blink = false;
            style.text_styles = [
                (TextStyle::Small, FontId::proportional(SMALL)),
                (TextStyle::Body, FontId::proportional(BODY)),
                (TextStyle::Button, FontId::proportional(BODY)),
                (TextStyle::Monospace, FontId::monospace(BODY)),
                (TextStyle::Heading, FontId::proportional(HEADING)),
            ]
            .into();
            let spacing = &mut style.spacing;
            spacing.item_spacing = egui::vec2(8.0, 4.0);
            spacing.button_padding = egui::vec2(8.0, 4.0);
            spacing.interact_size = egui::vec2(40.0, ROW);
            spacing.scroll = egui::style::ScrollStyle::solid();
            spacing.scroll.bar_width = 8.0;
            style.interaction.tooltip_delay = 0.4;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(c: Color32) -> f64 {
        let linear = |v: u8| {
            let v = f64::from(v) / 255.0;
            if v <= 0.040_45 {
                v / 12.92
            } else {
                ((v + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(c.r()) + 0.7152 * linear(c.g()) + 0.0722 * linear(c.b())
    }

    fn contrast(a: Color32, b: Color32) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn larger_values_are_lighter() {
        let steps: Vec<f64> = (0..=32).map(|i| luminance(ramp(i as f32 / 32.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert!(steps[0] < 0.03 && steps[32] > 0.75, "{steps:?}");
        assert_eq!(ramp(-1.0), ramp(0.0));
    }

    /// WCAG 2: text of 4.5 on every layer, edges of fields of 3.
    #[test]
    fn all_text_is_legible_on_all_layers() {
        for t in [DARK, LIGHT] {
            let layers = [
                t.canvas,
                t.panel,
                t.raised,
                t.hover,
                t.pressed,
                t.popup,
                t.field,
                t.selection,
                t.idle,
            ];
            for text in [
                t.text, t.soft, t.weak, t.accent, t.error, t.warning, t.note, t.ok,
            ] {
                for layer in layers {
                    assert!(
                        contrast(text, layer) >= 4.5,
                        "{text:?} on {layer:?}: {}",
                        contrast(text, layer)
                    );
                }
            }
            for code in t.code {
                for layer in [t.field, t.raised, t.selection] {
                    assert!(
                        contrast(code, layer) >= 5.0,
                        "{code:?} on {layer:?}: {}",
                        contrast(code, layer)
                    );
                }
            }
            assert!(contrast(t.on_accent, t.accent) >= 4.5 && contrast(t.edge, t.field) >= 3.0);
        }
    }
}
