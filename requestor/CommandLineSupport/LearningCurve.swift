import Reports

/// A learning curve drawn with block characters: a column a round, eighths of a line as the finest step, a dashed line
/// for the value to compare with.
public struct LearningCurve: Sendable {
    public struct Point: Sendable, Equatable {
        public var round: Int
        public var value: Double

        public init(round: Int, value: Double) {
            self.round = round
            self.value = value
        }
    }

    public var title: String
    public var points: [Point]
    /// A level to compare with, and its name.
    public var level: (name: String, value: Double)?
    public var written: @Sendable (Double) -> String
    public var floor: Double
    public var ceiling: Double
    public var height: Int

    public init(
        title: String, points: [Point], level: (name: String, value: Double)? = nil, floor: Double = 0,
        ceiling: Double = 1, height: Int = 8,
        written: @escaping @Sendable (Double) -> String = { Figures.percent($0, digits: 1) }
    ) {
        self.title = title
        self.points = points
        self.level = level
        self.written = written
        self.floor = floor
        self.ceiling = ceiling
        self.height = height
    }

    private static let eighths: [Character] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]

    public func lines(paint: Paint = Paint(false), width: Int = 80) -> [String] {
        let points = points.filter(\.value.isFinite)
        guard !points.isEmpty else { return [] }
        let level = level.flatMap { $0.value.isFinite ? $0 : nil }
        // A first round far below the rest would press everything else against the top, so the scale begins at the
        // lowest value, one step below.
        let axis = Axis(
            covering: points.map(\.value) + (level.map { [$0.value] } ?? []), steps: 4, floor: floor, ceiling: ceiling)
        let labels = stride(from: height - 1, through: 0, by: -1).map { row -> String in
            // The top row carries the upper end, the bottom row the lower, one in between the middle.
            if row == height - 1 { return written(axis.upper) }
            if row == 0 { return written(axis.lower) }
            return row == height / 2 - (height % 2 == 0 ? 0 : 1) && height > 4
                ? written((axis.upper + axis.lower) / 2) : ""
        }
        let margin = (labels.map(TextWidth.of).max() ?? 0) + 2
        let room = max(8, min(72, width - margin - 4))
        let columns = self.columns(points, room: room)
        let levelRow = level.map { min(height - 1, Int(axis.position($0.value) * Double(height))) }

        var lines = ["  " + paint(title, .bold) + (level.map { paint("   ╌╌ \($0.name)", .dim) } ?? "")]
        for row in stride(from: height - 1, through: 0, by: -1) {
            var bar = ""
            for column in columns.heights {
                guard let value = column else {
                    bar.append(row == levelRow ? "╌" : " ")
                    continue
                }
                // Never empty: the lowest value still shows as the lowest eighth.
                let filled = max(1, Int((axis.position(value) * Double(height * 8)).rounded())) - row * 8
                let block = Self.eighths[min(8, max(0, filled))]
                bar.append(block == " " && row == levelRow ? "╌" : block)
            }
            let label = TextWidth.padded(labels[height - 1 - row], to: margin, right: true)
            lines.append(paint(label + " ┤", .dim) + paint(bar.trimmingTrailingBlanks(), .cyan))
        }
        let first = "\(points[0].round)"
        let last = "\(points[points.count - 1].round)"
        let drawn = columns.heights.count
        lines.append(
            paint(String(repeating: " ", count: margin + 1) + "└" + String(repeating: "─", count: drawn), .dim))
        let gap = String(repeating: " ", count: max(1, drawn - first.count - last.count - 6))
        let under = points.count == 1 ? "round \(first)" : "round \(first)\(gap)\(last)"
        lines.append(paint(String(repeating: " ", count: margin + 2) + under, .dim))
        return lines
    }

    /// A value for every character column, nil where bars stand apart. Few rounds have wide bars; more rounds than room
    /// are thinned, each column showing the last round that falls on it.
    private func columns(_ points: [Point], room: Int) -> (heights: [Double?], width: Int) {
        if points.count > room {
            return ((0..<room).map { points[($0 + 1) * points.count / room - 1].value }, 1)
        }
        let pitch = min(10, room / points.count)
        let gap = pitch >= 3 ? 1 : 0
        var heights: [Double?] = []
        for point in points {
            heights += [Double?](repeating: point.value, count: pitch - gap)
            heights += [Double?](repeating: nil, count: gap)
        }
        return (heights, pitch)
    }
}
