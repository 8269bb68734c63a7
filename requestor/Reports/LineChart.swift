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

    /// A round worth finding: a fine line up the chart, with what it is on top.
    struct Mark {
        var round: Double
        var text: String
    }

    struct Level {
        var name: String
        var colour: String
        var value: Double
    }

    var title: String
    var lines: [Line]
    var levels: [Level] = []
    var marks: [Mark] = []
    /// How a value is written on the axis and in the points' titles.
    var written: (Double) -> String
    var writtenExactly: (Double) -> String
    var floor = -Double.infinity
    var ceiling = Double.infinity

    private static let width = 460.0
    private static let height = 264.0
    private static let left = 58.0
    private static let right = 12.0
    private static let bottom = 36.0
    private static let markPitch = 16.0

    private var top: Double { 14 + Double(marks.count) * Self.markPitch }

    /// The figure.
    /// - Parameter scale: a name that no other chart of the page has, where the reader may choose a logarithmic axis: both
    ///   charts are there, and two radio buttons, without a script.
    func markup(scale: String? = nil) -> Markup {
        let values = lines.flatMap { $0.points.map(\.value) } + levels.map(\.value)
        let linear = figure(on: Axis(covering: values, floor: floor, ceiling: ceiling))
        guard let scale, let axis = Axis(logarithmicCovering: values), axis.upper > 2 * axis.lower else {
            return .element("figure", [], .element("figcaption", [], caption()) + linear)
        }
        func choice(_ name: String, isChosen: Bool) -> Markup {
            let id = "\(scale)-\(name)"
            return .shape(
                "input",
                [
                    ("class", isChosen ? "scale" : "scale logarithmic"), ("type", "radio"), ("name", scale), ("id", id),
                ] + (isChosen ? [("checked", "checked")] : []))
                + .element("label", [("for", id)], text: "\(name) axis")
        }
        let both =
            choice("linear", isChosen: true) + choice("logarithmic", isChosen: false)
            + .element("div", [("class", "linear")], linear)
            + .element("div", [("class", "log")], figure(on: axis))
        return .element("figure", [], .element("figcaption", [], caption()) + both)
    }

    private func figure(on vertical: Axis) -> Markup {
        let rounds = lines.flatMap { $0.points.map(\.round) }
        let first = Int(saturating: (rounds.min() ?? 0).rounded(.down))
        let horizontal = Axis(counting: first...max(Int(saturating: (rounds.max() ?? 1).rounded(.up)), first))
        let x = { (round: Double) in
            Self.left + horizontal.position(round) * (Self.width - Self.left - Self.right)
        }
        let y = { (value: Double) in
            Self.height - Self.bottom - vertical.position(value) * (Self.height - top - Self.bottom)
        }

        var body: [Markup] = [.element("title", text: title)]
        body += vertical.grid(from: Self.left, to: Self.width - Self.right, at: y, written: written)
        body += horizontal.numbers(at: x, y: Self.height - 19)
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
        for (index, mark) in marks.enumerated() where mark.round.isFinite {
            let isRight = horizontal.position(mark.round) > 0.5
            let line = 12 + Double(index) * Self.markPitch
            body.append(
                .shape(
                    "line",
                    [
                        ("class", "mark"), ("x1", coordinate(x(mark.round))), ("x2", coordinate(x(mark.round))),
                        ("y1", coordinate(line - 9)), ("y2", coordinate(Self.height - Self.bottom)),
                    ]))
            body.append(
                .element(
                    "text",
                    [
                        ("class", isRight ? "tick end" : "tick"),
                        ("x", coordinate(x(mark.round) + (isRight ? -5 : 5))), ("y", coordinate(line)),
                    ], text: mark.text))
        }
        // The main curve lies on top.
        for line in lines.reversed() { body.append(drawn(line, x: x, y: y)) }
        return .element(
            "svg",
            [
                ("class", "plot"), ("viewBox", "0 0 \(Int(Self.width)) \(Int(Self.height))"), ("role", "img"),
                ("aria-label", description),
            ], .lines(body))
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
