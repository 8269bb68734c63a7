/// A table in plain text: columns two blanks apart, a thin rule under the heading, figures to the right.
public struct TextTable: Sendable, Equatable {
    public struct Column: Sendable, Equatable {
        public var title: String
        public var toRight: Bool
        /// Names and texts, which may be shortened where the table is too wide; figures never are.
        public var isText: Bool

        public init(_ title: String, toRight: Bool = true, isText: Bool? = nil) {
            self.title = title
            self.toRight = toRight
            self.isText = isText ?? !toRight
        }
    }

    public var columns: [Column]
    public var rows: [[String]]
    /// Rows painted bold, by index.
    public var emphasised: Set<Int>

    public init(_ columns: [Column], rows: [[String]] = [], emphasised: Set<Int> = []) {
        self.columns = columns
        self.rows = rows
        self.emphasised = emphasised
    }

    /// No text is made shorter than this.
    private static let shortest = 8

    private func isShortened(_ column: Int) -> Bool { column == 0 || columns[column].isText }

    /// Columns that it takes with all texts shortened.
    public var leastWidth: Int {
        zip(columns.indices, widths).reduce(0) { $0 + 2 + (isShortened($1.0) ? min(Self.shortest, $1.1) : $1.1) }
    }

    /// The same with a column a row, under what stood in the first column: for few rows in a narrow window.
    public var turned: TextTable {
        TextTable(
            [Column("", toRight: false)] + rows.map { Column($0.first ?? "", isText: true) },
            rows: columns.indices.dropFirst().map { index in
                [columns[index].title] + rows.map { index < $0.count ? $0[index] : "" }
            })
    }

    private var widths: [Int] {
        columns.indices.map { index in
            max(
                TextWidth.of(columns[index].title),
                rows.map { index < $0.count ? TextWidth.of($0[index]) : 0 }.max() ?? 0)
        }
    }

    /// The lines, indented by two blanks. Where they are too wide for `width`, columns of texts are shortened in the
    /// middle, the widest first, so that all of the width is used; figures never are.
    public func lines(paint: Paint = Paint(false), width: Int = 400) -> [String] {
        var widths = widths
        var excess = widths.reduce(0, +) + 2 * widths.count - width
        while excess > 0,
            let widest = widths.indices.filter({ isShortened($0) && widths[$0] > Self.shortest })
                .max(by: { (widths[$0], -$0) < (widths[$1], -$1) })
        {
            widths[widest] -= 1
            excess -= 1
        }

        func written(_ cells: [String]) -> String {
            let padded = columns.indices.map { index in
                TextWidth.padded(
                    TextWidth.shortened(index < cells.count ? cells[index] : "", to: max(1, widths[index])),
                    to: widths[index], right: columns[index].toRight)
            }
            return ("  " + padded.joined(separator: "  ")).trimmingTrailingBlanks()
        }
        var lines: [String] = []
        if columns.contains(where: { !$0.title.isEmpty }) {
            lines.append(paint(written(columns.map(\.title)), .dim))
            lines.append(
                paint("  " + String(repeating: "─", count: widths.reduce(0, +) + 2 * max(0, widths.count - 1)), .dim))
        }
        for (index, row) in rows.enumerated() {
            lines.append(emphasised.contains(index) ? paint(written(row), .bold) : written(row))
        }
        return lines
    }
}

extension String {
    func trimmingTrailingBlanks() -> String {
        var text = self[...]
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
