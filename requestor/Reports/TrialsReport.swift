/// The page of runs that belong together: the same run with several seeds, or with several values of a setting.
public struct TrialsReport: Sendable, Equatable {
    public struct Table: Sendable, Equatable {
        public var head: [String]
        public var rows: [[String]]
        /// Position of the row that matters most.
        public var emphasised: Int?

        public init(head: [String], rows: [[String]], emphasised: Int? = nil) {
            self.head = head
            self.rows = rows
            self.emphasised = emphasised
        }
    }

    /// One run.
    public struct Curve: Sendable, Equatable {
        public var name: String
        public var rounds: [RunReport.Round]

        public init(name: String, rounds: [RunReport.Round]) {
            self.name = name
            self.rounds = rounds
        }
    }

    /// What came of every value of one setting, or of every pair of two.
    public struct Grid: Sendable, Equatable {
        public struct Cell: Sendable, Equatable {
            /// The higher, the better; `nil`: nothing came of it.
            public var value: Double?
            public var text: String
            public var note: String

            public init(value: Double?, text: String, note: String) {
                self.value = value
                self.text = text
                self.note = note
            }
        }

        /// Names of the settings; the rows' is empty where there is one setting alone.
        public var columns: String
        public var columnValues: [String]
        public var rows: String
        public var rowValues: [String]
        /// Row by row.
        public var cells: [Cell]

        public init(
            columns: String, columnValues: [String], rows: String = "", rowValues: [String] = [""], cells: [Cell]
        ) {
            self.columns = columns
            self.columnValues = columnValues
            self.rows = rows
            self.rowValues = rowValues
            self.cells = cells
        }
    }

    /// More curves than this nobody tells apart.
    public static let mostCurves = 10

    public var title: String
    public var subtitle: String
    public var table: Table
    public var note: String
    public var curves: [Curve]
    public var grid: Grid?

    public init(
        title: String, subtitle: String, table: Table, note: String = "", curves: [Curve] = [], grid: Grid? = nil
    ) {
        self.title = title
        self.subtitle = subtitle
        self.table = table
        self.note = note
        self.curves = curves
        self.grid = grid
    }

    /// The page: one file without scripts, fonts or pictures from elsewhere. The same values give the same bytes.
    public func html() -> String {
        var sections = [
            Markup.element("h1", text: title) + .element("p", [("class", "lead")], text: subtitle), tableSection(),
        ]
        if let grid { sections.append(.panel(GridChart(grid: grid).markup())) }
        if let drawn = curveSection() { sections.append(drawn) }
        sections.append(.element("footer", text: "Made by DeML. Each run's own report lies in its folder."))
        return Markup.page(title: title, sections)
    }

    private func tableSection() -> Markup {
        let rows = table.rows.enumerated().map { index, cells in
            Markup.element(
                "tr", index == table.emphasised ? [("class", "first")] : [],
                cells.map { .element("td", text: $0) }.reduce(Markup(), +))
        }
        return .panel(.table(head: table.head, rows: rows)) + .element("p", [("class", "note")], text: note)
    }

    private func curveSection() -> Markup? {
        let shown = curves.prefix(Self.mostCurves)
        func lines(_ value: (RunReport.Round) -> Double) -> [LineChart.Line] {
            shown.enumerated().map { index, curve in
                .init(
                    name: curve.name, colour: "class\(index % 10)",
                    points: curve.rounds.filter { $0.number > 0 }.map { (Double($0.number), value($0)) })
            }
        }
        let all = shown.flatMap(\.rounds).filter { $0.number > 0 }
        guard !all.isEmpty else { return nil }
        let set = all.contains { $0.validationLoss != nil } ? "Validation" : "Test"
        var charts: [Markup] = []
        if all.contains(where: { $0.chosenBy.accuracy.isFinite }) {
            charts.append(
                LineChart(
                    title: "\(set) accuracy", lines: lines { $0.chosenBy.accuracy },
                    written: { Figures.short($0 * 100) + " %" }, writtenExactly: { Figures.percent($0) }, floor: 0,
                    ceiling: 1
                ).markup())
        }
        charts.append(
            LineChart(
                title: "\(set) loss", lines: lines { $0.chosenBy.loss }, written: { Figures.short($0) },
                writtenExactly: { Figures.loss($0) }
            ).markup(scale: "loss-axis"))
        return .element("h2", text: "Learning curves")
            + .element("div", [("class", "pair")], .lines(charts.map { .panel($0) }))
    }
}

/// Values of one or two settings as a grid of cells, the better the darker.
struct GridChart {
    var grid: TrialsReport.Grid

    private static let cellWidth = 86.0
    private static let cellHeight = 46.0
    private static let left = 120.0
    private static let top = 40.0

    func markup() -> Markup {
        let values = grid.cells.compactMap(\.value).filter(\.isFinite)
        let (low, high) = (values.min() ?? 0, values.max() ?? 1)
        let hasRows = !grid.rows.isEmpty
        let left = hasRows ? Self.left : 8
        let width = left + Double(grid.columnValues.count) * Self.cellWidth + 8
        let height = Self.top + Double(grid.rowValues.count) * Self.cellHeight + 8
        func text(_ style: String, _ x: Double, _ y: Double, _ content: String) -> Markup {
            .element("text", [("class", style), ("x", coordinate(x)), ("y", coordinate(y))], text: content)
        }
        var body: [Markup] = [
            text("label", left, 12, grid.columns)
        ]
        if hasRows { body.append(text("label", 2, Self.top - 8, grid.rows)) }
        for (index, value) in grid.columnValues.enumerated() {
            body.append(
                text(
                    "tick middle", left + (Double(index) + 0.5) * Self.cellWidth, Self.top - 8,
                    Figures.shortened(value, to: 13)
                ))
        }
        for (row, rowValue) in grid.rowValues.enumerated() {
            let y = Self.top + Double(row) * Self.cellHeight
            if hasRows {
                body.append(text("tick", 2, y + Self.cellHeight / 2 + 4, Figures.shortened(rowValue, to: 18)))
            }
            for column in grid.columnValues.indices {
                let index = row * grid.columnValues.count + column
                guard grid.cells.indices.contains(index) else { continue }
                let cell = grid.cells[index]
                let value = cell.value.flatMap { $0.isFinite ? $0 : nil }
                let share = value.map { high > low ? 0.1 + 0.9 * ($0 - low) / (high - low) : 0.5 } ?? 0
                let x = left + Double(column) * Self.cellWidth
                body.append(
                    .element(
                        "rect",
                        [
                            ("class", "heat"), ("x", coordinate(x + 1)), ("y", coordinate(y + 1)),
                            ("width", coordinate(Self.cellWidth - 2)), ("height", coordinate(Self.cellHeight - 2)),
                            ("fill-opacity", Figures.decimal(Palette.strongestHeat * share, digits: 2)), ("rx", "4"),
                        ], .element("title", text: "\(cell.text), \(cell.note)")))
                body.append(text("cell", x + Self.cellWidth / 2, y + Self.cellHeight / 2, cell.text))
                body.append(text("cell", x + Self.cellWidth / 2, y + Self.cellHeight / 2 + 14, cell.note))
            }
        }
        return .element(
            "svg",
            [
                ("viewBox", "0 0 \(coordinate(width)) \(coordinate(height))"), ("role", "img"),
                ("style", "max-width:\(coordinate(width))px"),
                ("aria-label", "every value that was tried, and what came of it"),
            ], .lines(body))
    }
}

extension Markup {
    /// A whole page.
    static func page(title: String, _ sections: [Markup]) -> String {
        let body = Markup.element("main", [], .lines(sections))
        return """
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width,initial-scale=1">
            <title>\(Markup.escaped(title)) · DeML</title>
            <style>
            \(StyleSheet.text)
            </style>
            </head>
            <body>
            \(body.source)
            </body>
            </html>

            """
    }
}
