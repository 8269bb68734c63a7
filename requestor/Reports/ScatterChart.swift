/// Points over two axes as SVG, with a line on which a perfect model's points would lie.
struct ScatterChart {
    enum Guide {
        /// Where both coordinates are the same.
        case diagonal
        /// Where the vertical coordinate is 0.
        case zero
    }

    var title: String
    var horizontal: String
    var vertical: String
    var points: [(x: Double, y: Double)]
    var guide: Guide

    private static let width = 460.0
    private static let height = 300.0
    private static let left = 62.0
    private static let right = 12.0
    private static let top = 14.0
    private static let bottom = 40.0

    func markup() -> Markup {
        let shown = points.filter { $0.x.isFinite && $0.y.isFinite }
        let both = shown.map(\.x) + shown.map(\.y)
        let across = Axis(covering: guide == .diagonal ? both : shown.map(\.x))
        let up = Axis(covering: guide == .diagonal ? both : shown.map(\.y) + [0])
        let x = { (value: Double) in Self.left + across.position(value) * (Self.width - Self.left - Self.right) }
        let y = { (value: Double) in
            Self.height - Self.bottom - up.position(value) * (Self.height - Self.top - Self.bottom)
        }
        var body: [Markup] = [.element("title", text: title)]
        body += up.grid(from: Self.left, to: Self.width - Self.right, at: y, written: Figures.short)
        body += across.numbers(at: x, y: Self.height - 22)
        body.append(
            .element(
                "text",
                [
                    ("class", "tick middle"), ("x", coordinate((Self.left + Self.width) / 2)),
                    ("y", coordinate(Self.height - 4)),
                ], text: horizontal))
        body.append(.shape("line", [("class", "level"), ("style", "stroke:var(--other)")] + line(across, up, x, y)))
        for point in shown {
            body.append(
                .shape(
                    "circle",
                    [
                        ("style", "fill:var(--accent);fill-opacity:.55"), ("r", "2.2"), ("cx", coordinate(x(point.x))),
                        ("cy", coordinate(y(point.y))),
                    ]))
        }
        let drawing = Markup.element(
            "svg",
            [
                ("class", "plot"), ("viewBox", "0 0 \(Int(Self.width)) \(Int(Self.height))"), ("role", "img"),
                ("aria-label", "\(title): \(shown.count) examples"),
            ], .lines(body))
        let caption = Markup.element("b", text: title) + Markup(text: vertical)
        return .element("figure", [], .element("figcaption", [], caption) + drawing)
    }

    private func line(
        _ across: Axis, _ up: Axis, _ x: (Double) -> Double, _ y: (Double) -> Double
    ) -> [(String, String)] {
        let (low, high) = guide == .diagonal ? (up.lower, up.upper) : (0, 0)
        return [
            ("x1", coordinate(x(across.lower))), ("x2", coordinate(x(across.upper))), ("y1", coordinate(y(low))),
            ("y2", coordinate(y(high))),
        ]
    }
}
