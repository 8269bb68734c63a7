/// A table in plain text: columns two blanks apart, a thin rule under the heading, figures to the right.
public struct TextTable: Sendable, Equatable {
    public struct Column: Sendable, Equatable {
        public var title: String
        public var toRight: Bool

        public init(_ title: String, toRight: Bool = true) {
            self.title = title
            self.toRight = toRight
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

    /// The lines, indented by two blanks. Too wide for `width`, the first column (names) is cut, others never.
    public func lines(paint: Paint = Paint(false), width: Int = 400) -> [String] {
        var widths = columns.indices.map { index in
            max(
                TextWidth.of(columns[index].title),
                rows.map { index < $0.count ? TextWidth.of($0[index]) : 0 }.max() ?? 0)
        }
        let total = widths.reduce(0, +) + 2 * widths.count
        if total > width, !widths.isEmpty { widths[0] = max(8, widths[0] - (total - width)) }

        func written(_ cells: [String]) -> String {
            let padded = columns.indices.map { index in
                TextWidth.padded(
                    TextWidth.cut(index < cells.count ? cells[index] : "", to: max(1, widths[index])),
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
