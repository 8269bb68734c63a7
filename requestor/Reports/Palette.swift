/// The page's colours by name, for light and for dark. Values, not text, so that a test can work out how well every label
/// can be read: at least 4.5 to 1, as WCAG 2.2 (1.4.3) asks.
///
/// What they stand for is the same everywhere: `accent` the federated model, `other` the same in one place, `third` on one
/// shard alone, `validation` the federated model on the validation set, `good` in training, `wrong` a mistake.
package struct Palette: Sendable {
    package var colours: [(name: String, hex: String)]

    /// Opacity of the strongest cell of a heat map that has text in it: with more, ink could not be read on it.
    package static let strongestHeat = 0.5

    package static let light = Palette(colours: [
        ("page", "#f7f7f5"), ("panel", "#ffffff"), ("ink", "#1d2024"), ("muted", "#5f656d"), ("rule", "#e2e3e1"),
        ("accent", "#2463d6"), ("other", "#b84a12"), ("third", "#6b7179"), ("wrong", "#c23232"), ("good", "#1b7648"),
        ("validation", "#8a4bb0"), ("inbar", "#ffffff"), ("shade", "#00000026"),
        ("class0", "#3f6b9e"), ("class1", "#a95d0b"), ("class2", "#bd4145"), ("class3", "#267a73"),
        ("class4", "#3f7d34"), ("class5", "#856a0c"), ("class6", "#8f5483"), ("class7", "#b0487a"),
        ("class8", "#7d5a45"), ("class9", "#6c665f"),
    ])

    package static let dark = Palette(colours: [
        ("page", "#15171a"), ("panel", "#1d2024"), ("ink", "#e7e8ea"), ("muted", "#a0a7b0"), ("rule", "#30343a"),
        ("accent", "#6ea0ff"), ("other", "#f2945c"), ("third", "#9aa1aa"), ("wrong", "#f47c7c"), ("good", "#5cc592"),
        ("validation", "#c79be8"), ("inbar", "#15171a"), ("shade", "#00000080"),
        ("class0", "#7aa6d6"), ("class1", "#f2a04e"), ("class2", "#ef8587"), ("class3", "#7cc7c0"),
        ("class4", "#83c878"), ("class5", "#e3c352"), ("class6", "#c993bb"), ("class7", "#f7a9d0"),
        ("class8", "#c09b84"), ("class9", "#b9b1aa"),
    ])

    /// `--name:#rrggbb;` for each.
    var declarations: String { colours.map { "--\($0.name):\($0.hex);" }.joined() }
}
