/// Curves over rounds as SVG: one or more lines, dashed levels to compare with, a title on every point.
struct LineChart {
    struct Line {
        var name: String
        /// Name of a CSS colour variable without the dashes.
        var colour: String
        var points: [(round: Double, value: Double)]
        /// Thinner and without marks: something to compare with.
        var isReference = false
    }

    struct Level {
        var name: String
        var colour: String
        var value: Double
    }

    var title: String
    var lines: [Line]
    var levels: [Level] = []
    /// How a value is written on the axis and in the points' titles.
    var written: (Double) -> String
    var writtenExactly: (Double) -> String
    var floor = -Double.infinity
    var ceiling = Double.infinity

    private static let width = 460.0
    private static let height = 264.0
    private static let left = 52.0
    private static let right = 12.0
    private static let top = 14.0
    private static let bottom = 34.0

    func markup() -> Markup {
        let values = lines.flatMap { $0.points.map(\.value) } + levels.map(\.value)
        let rounds = lines.flatMap { $0.points.map(\.round) }
        let vertical = Axis(covering: values, floor: floor, ceiling: ceiling)
        let first = Int(saturating: (rounds.min() ?? 0).rounded(.down))
        let horizontal = Axis(counting: first...max(Int(saturating: (rounds.max() ?? 1).rounded(.up)), first))
        let x = { (round: Double) in
            Self.left + horizontal.position(round) * (Self.width - Self.left - Self.right)
        }
        let y = { (value: Double) in
            Self.height - Self.bottom - vertical.position(value) * (Self.height - Self.top - Self.bottom)
        }

        var body: [Markup] = [.element("title", text: title)]
        body += vertical.grid(from: Self.left, to: Self.width - Self.right, at: y, written: written)
        body += horizontal.numbers(at: x, y: Self.height - 17)
        body.append(
            .element(
                "text",
                [("class", "tick middle"), ("x", coordinate((Self.left + Self.width) / 2)), ("y", "262")],
                text: "round"))
        for level in levels where level.value.isFinite {
            body.append(
                .element(
                    "line",
                    [
                        ("class", "level"), ("style", "stroke:var(--\(level.colour))"),
                        ("x1", coordinate(Self.left)), ("x2", coordinate(Self.width - Self.right)),
                        ("y1", coordinate(y(level.value))), ("y2", coordinate(y(level.value))),
                    ], .element("title", text: "\(level.name): \(writtenExactly(level.value))")))
        }
        // The main curve lies on top.
        for line in lines.reversed() { body.append(drawn(line, x: x, y: y)) }
        let drawing = Markup.element(
            "svg",
            [
                ("viewBox", "0 0 \(Int(Self.width)) \(Int(Self.height))"), ("role", "img"), ("aria-label", description),
            ], .lines(body))
        return .element("figure", [], .element("figcaption", [], caption()) + drawing)
    }

    private func drawn(_ line: Line, x: (Double) -> Double, y: (Double) -> Double) -> Markup {
        let points = line.points.filter(\.value.isFinite)
        var parts: [Markup] = []
        if points.count > 1 {
            let path = points.map { "\(coordinate(x($0.round))),\(coordinate(y($0.value)))" }
            parts.append(
                .shape(
                    "polyline",
                    [
                        ("class", line.isReference ? "curve reference" : "curve"),
                        ("style", "stroke:var(--\(line.colour))"),
                        ("points", path.joined(separator: " ")),
                    ]))
        }
        if line.isReference, points.count > 1 { return .lines(parts) }
        // Small marks on long runs, so that the curve stays a curve; the title still answers the pointer.
        let radius = points.count <= 30 ? "3.2" : "1.4"
        for point in points {
            parts.append(
                .element(
                    "circle",
                    [
                        ("class", points.count <= 30 ? "point" : "dot"), ("style", "fill:var(--\(line.colour))"),
                        ("r", radius),
                        ("cx", coordinate(x(point.round))), ("cy", coordinate(y(point.value))),
                    ],
                    .element(
                        "title",
                        text: "round \(Figures.short(point.round)), \(line.name): \(writtenExactly(point.value))")))
        }
        return .lines(parts)
    }

    /// Title and legend; the legend names what is dashed.
    private func caption() -> Markup {
        var parts = Markup.element("b", text: title)
        guard lines.count + levels.count > 1 else { return parts }
        for line in lines {
            parts += .element(
                "span", [("class", "key")],
                .element("i", [("style", "background:var(--\(line.colour))")]) + Markup(text: line.name))
        }
        for level in levels {
            parts += .element(
                "span", [("class", "key")],
                .element("i", [("class", "dash"), ("style", "border-color:var(--\(level.colour))")])
                    + Markup(text: level.name))
        }
        return parts
    }

    /// For those who hear the page.
    private var description: String {
        let ends = lines.compactMap { line -> String? in
            guard let first = line.points.first, let last = line.points.last else { return nil }
            return "\(line.name) from \(writtenExactly(first.value)) in round \(Figures.short(first.round)) "
                + "to \(writtenExactly(last.value)) in round \(Figures.short(last.round))"
        }
        return "\(title): " + ends.joined(separator: "; ")
    }
}
