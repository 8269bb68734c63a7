/// The ways of training side by side: a dot for each on one axis, which need not begin at 0 as the length of a bar must.
/// HTML, not SVG, so that the text keeps its size on a narrow screen.
struct PlaceChart {
    var places: [RunReport.Place]

    private var showsAccuracy: Bool { places.contains { $0.accuracy.isFinite } }

    func markup() -> Markup {
        let value = { (place: RunReport.Place) in showsAccuracy ? place.accuracy : place.loss }
        let values = places.map(value).filter(\.isFinite)
        guard !values.isEmpty else { return Markup() }
        // Room on both sides, so that no dot sits on an end.
        let spread = (values.max() ?? 1) - (values.min() ?? 0)
        let padded = values + values.flatMap { [$0 - spread * 0.15, $0 + spread * 0.15] }
        let axis = Axis(
            covering: padded, steps: 3, floor: values.allSatisfy { $0 >= 0 } ? 0 : -.infinity,
            ceiling: showsAccuracy ? 1 : .infinity)
        func left(_ value: Double) -> String { "left:\(Figures.decimal(axis.position(value) * 100, digits: 1))%" }
        let grid = axis.ticks.map { Markup.element("u", [("style", left($0))]) }.reduce(Markup(), +)
        var parts: [Markup] = []
        for place in places {
            let dot =
                value(place).isFinite
                ? Markup.element(
                    "i", [("style", "\(left(value(place)));background:var(--\(place.kind.colour))")]) : Markup()
            let written = showsAccuracy ? Figures.percent(place.accuracy) : Figures.loss(place.loss)
            parts += [
                .element("span", [], .swatch(place.kind.colour) + Markup(text: place.name)),
                .element("div", [("class", "track")], grid + dot), .element("b", text: written),
            ]
        }
        let ticks = axis.ticks.map { tick in
            Markup.element(
                "span", [("style", left(tick))],
                text: showsAccuracy ? Figures.short(tick * 100) + " %" : Figures.short(tick))
        }
        parts += [
            .element("span", [("class", "gap")]), .element("div", [("class", "scaleline")], .lines(ticks)),
            .element("span", [("class", "gap")]),
        ]
        return .element("div", [("class", "dots")], .lines(parts))
    }
}

extension Markup {
    /// A spot of a colour, before the name of what it stands for.
    static func swatch(_ colour: String) -> Markup {
        .element("i", [("class", "swatch"), ("style", "background:var(--\(colour))")])
    }
}
