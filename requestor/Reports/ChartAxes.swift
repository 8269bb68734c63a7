/// What charts draw of their axes.
extension Axis {
    /// A line across the chart for each tick, with its number left of it.
    func grid(
        from left: Double, to right: Double, at y: (Double) -> Double, written: (Double) -> String
    ) -> [Markup] {
        ticks.flatMap { tick -> [Markup] in
            [
                .shape(
                    "line",
                    [
                        ("class", "grid"), ("x1", coordinate(left)), ("x2", coordinate(right)),
                        ("y1", coordinate(y(tick))), ("y2", coordinate(y(tick))),
                    ]),
                .element(
                    "text", [("class", "tick end"), ("x", coordinate(left - 8)), ("y", coordinate(y(tick) + 3.5))],
                    text: written(tick)),
            ]
        }
    }

    /// The numbers below the chart.
    func numbers(at x: (Double) -> Double, y: Double) -> [Markup] {
        ticks.map { tick in
            .element(
                "text", [("class", "tick middle"), ("x", coordinate(x(tick))), ("y", coordinate(y))],
                text: Figures.short(tick))
        }
    }
}
