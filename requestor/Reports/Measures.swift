/// How good a model is on the test set, in the measures of the field.
public struct Measures: Sendable, Equatable {
    /// One measure of the whole.
    public struct Figure: Sendable, Equatable {
        public var name: String
        /// `nil` where it has no value on these examples.
        public var value: Double?
        /// Whether it is a share between 0 and 1, written in per cent.
        public var isShare: Bool

        public init(_ name: String, _ value: Double?, isShare: Bool = false) {
            self.name = name
            self.value = value
            self.isShare = isShare
        }

        public var text: String {
            guard let value else { return "–" }
            return isShare ? Figures.percent(value) : Figures.loss(value)
        }
    }

    /// One class against the rest.
    public struct ClassRow: Sendable, Equatable {
        public var name: String
        public var support: Int
        public var precision: Double?
        public var recall: Double?
        public var f1: Double?
        public var rocAUC: Double?

        public init(
            name: String, support: Int, precision: Double?, recall: Double?, f1: Double?, rocAUC: Double?
        ) {
            self.name = name
            self.support = support
            self.precision = precision
            self.recall = recall
            self.f1 = f1
            self.rocAUC = rocAUC
        }

        static let head = ["class", "examples", "precision", "recall", "F1", "ROC AUC"]

        /// A cell for each column.
        public var cells: [String] {
            [name, Figures.grouped(support)]
                + [precision, recall, f1].map { $0.map { Figures.percent($0, digits: 1) } ?? "–" }
                + [rocAUC.map { Figures.decimal($0, digits: 4) } ?? "–"]
        }
    }

    /// An output of a regression: what was to be predicted, and what was.
    public struct Output: Sendable, Equatable {
        public struct Point: Sendable, Equatable {
            public var target: Double
            public var predicted: Double

            public init(target: Double, predicted: Double) {
                self.target = target
                self.predicted = predicted
            }
        }

        public var name: String
        public var points: [Point]

        public init(name: String, points: [Point]) {
            self.name = name
            self.points = points
        }
    }

    public var figures: [Figure]
    /// Empty for a regression.
    public var classes: [ClassRow]
    /// Empty for a classifier.
    public var outputs: [Output]

    public init(figures: [Figure] = [], classes: [ClassRow] = [], outputs: [Output] = []) {
        self.figures = figures
        self.classes = classes
        self.outputs = outputs
    }

    /// Names of the columns of a class's cells.
    public static var classHead: [String] { ClassRow.head }
}

extension Measures {
    /// More classes than this are a file's matter, not a page's.
    static let mostRows = 200

    /// The page's section.
    func section() -> Markup {
        let rows = figures.map { figure in
            Markup.element(
                "tr", [], .element("td", text: figure.name) + .element("td", text: figure.text))
        }
        var parts = Markup.element("h2", text: "Measures on the test set")
        let overall = Markup.table(head: [], rows: rows)
        if classes.isEmpty {
            parts += .panel(overall)
        } else {
            let classRows = classes.prefix(Self.mostRows).map { row in
                Markup.element("tr", [], row.cells.map { .element("td", text: $0) }.reduce(Markup(), +))
            }
            // A few more than are shown at once are not worth a click.
            let shown = classRows.count > 20 ? 12 : classRows.count
            let table = Markup.table(head: ClassRow.head, rows: Array(classRows.prefix(shown)))
            parts += .element("div", [("class", "pair")], .lines([.panel(overall), .panel(table)]))
            if classRows.count > shown {
                let rest = Markup.table(head: ClassRow.head, rows: Array(classRows.dropFirst(shown)))
                parts += .element(
                    "details", [], .element("summary", text: "\(classRows.count - shown) more classes") + .panel(rest))
            }
            if classes.count > Self.mostRows {
                parts += .element(
                    "p", [("class", "note")],
                    text: "\(Figures.grouped(classes.count - Self.mostRows)) more classes are in summary.json.")
            }
        }
        parts += .element(
            "p", [("class", "note")],
            text: "As scikit-learn defines them; – where a measure has no value on these examples.")
        for output in outputs where !output.points.isEmpty {
            let charts = [
                ScatterChart(
                    title: "\(output.name): predicted against true", horizontal: "true", vertical: "predicted",
                    points: output.points.map { ($0.target, $0.predicted) }, guide: .diagonal),
                ScatterChart(
                    title: "\(output.name): residuals", horizontal: "predicted", vertical: "true - predicted",
                    points: output.points.map { ($0.predicted, $0.target - $0.predicted) }, guide: .zero),
            ]
            parts += .element(
                "div", [("class", "pair")], .lines(charts.map { Markup.panel($0.markup()) }))
        }
        return parts
    }
}

extension Markup {
    /// Where its content may be wider than the window, as tables and commands are, keys reach it, too.
    static func panel(_ content: Markup) -> Markup {
        let isWide = ["<table", "class=\"commands\""].contains { content.source.contains($0) }
        return .element("div", [("class", "panel")] + (isWide ? [("tabindex", "0")] : []), content)
    }

    /// A column without a name has no head.
    private static func headCell(_ text: String) -> Markup { .element(text.isEmpty ? "td" : "th", text: text) }

    static func table(head: [String], rows: [Markup]) -> Markup {
        let top =
            head.isEmpty
            ? Markup()
            : .element("thead", [], .element("tr", [], head.map(headCell).reduce(Markup(), +)))
        return .element("table", [], top + .element("tbody", [], .lines(rows)))
    }
}
