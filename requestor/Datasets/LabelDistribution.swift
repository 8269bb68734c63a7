/// How many examples of each class each part has: a row a part, a column a class.
public struct LabelDistribution: Sendable, Codable, Equatable {
    public var counts: [[Int]]
    public var classNames: [String]?

    public init(counts: [[Int]], classNames: [String]? = nil) {
        self.counts = counts
        self.classNames = classNames
    }

    public var classes: Int { counts.first?.count ?? 0 }

    /// Examples of each class over all parts.
    public var classTotals: [Int] {
        (0..<classes).map { column in counts.reduce(0) { $0 + $1[column] } }
    }

    public func name(ofClass index: Int) -> String {
        classNames.flatMap { $0.indices.contains(index) ? $0[index] : nil } ?? String(index)
    }

    /// A table: a line a part, a column a class, totals at the end. Beyond `maximumClasses` classes the columns are the
    /// number of classes present and the most frequent ones; beyond `maximumParts` parts the middle is left out.
    public func text(maximumClasses: Int = 20, maximumParts: Int = 40) -> String {
        let isWide = classes > maximumClasses
        var rows: [[String]] = [
            ["shard", "examples"] + (isWide ? ["classes", "most frequent"] : (0..<classes).map { name(ofClass: $0) })
        ]
        func row(_ title: String, _ row: [Int]) -> [String] {
            var cells = [title, String(row.reduce(0, +))]
            if isWide {
                let frequent = row.indices.sorted { (-row[$0], $0) < (-row[$1], $1) }.prefix(3).filter { row[$0] > 0 }
                cells.append(String(row.count { $0 > 0 }))
                cells.append(frequent.map { "\(name(ofClass: $0)): \(row[$0])" }.joined(separator: ", "))
            } else {
                cells += row.map { $0 == 0 ? "·" : String($0) }
            }
            return cells
        }
        for (index, counts) in counts.enumerated() {
            if counts.isEmpty { continue }
            if self.counts.count > maximumParts,
                (maximumParts / 2..<self.counts.count - maximumParts / 2).contains(index)
            {
                if index == maximumParts / 2 {
                    rows.append(["…"] + [String](repeating: "…", count: rows[0].count - 1))
                }
                continue
            }
            rows.append(row(String(index), counts))
        }
        rows.append(row("all", classTotals))
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { column, cell in
                String(repeating: " ", count: widths[column] - cell.count) + cell
            }.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}
