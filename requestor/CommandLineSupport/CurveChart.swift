import Foundation
import Reports

/// Several curves over rounds on one pair of axes, drawn with a letter for each: what is compared must share its axis.
public struct CurveChart: Sendable {
    public struct Line: Sendable {
        public var name: String
        public var points: [LearningCurve.Point]

        public init(name: String, points: [LearningCurve.Point]) {
            self.name = name
            self.points = points
        }
    }

    public var title: String
    public var lines: [Line]
    public var height: Int
    public var floor: Double
    public var ceiling: Double
    public var written: @Sendable (Double) -> String

    /// More curves than this nobody tells apart.
    public static let most = 8
    private static let letters: [Character] = ["a", "b", "c", "d", "e", "f", "g", "h"]
    private static let colours: [Paint.Colour] = [.cyan, .yellow, .green, .red, .blue, .bold, .dim, .cyan]

    public init(
        title: String, lines: [Line], height: Int = 12, floor: Double = 0, ceiling: Double = 1,
        written: @escaping @Sendable (Double) -> String = { Figures.percent($0, digits: 1) }
    ) {
        self.title = title
        self.lines = lines
        self.height = height
        self.floor = floor
        self.ceiling = ceiling
        self.written = written
    }

    /// The chart, at most `width` columns: a legend, then rows from the top down. A later curve does not cover an earlier
    /// one: where two meet there is `*`.
    public func drawn(paint: Paint = Paint(false), width: Int = 80) -> [String] {
        let shown = lines.prefix(Self.most).map { line in
            (name: line.name, points: line.points.filter { $0.value.isFinite && $0.round > 0 })
        }
        let all = shown.flatMap(\.points)
        guard !all.isEmpty else { return [] }
        let axis = Axis(covering: all.map(\.value), steps: 4, floor: floor, ceiling: ceiling)
        let first = all.map(\.round).min() ?? 0
        let last = max(all.map(\.round).max() ?? 0, first)
        let ends = [written(axis.upper), written((axis.upper + axis.lower) / 2), written(axis.lower)]
        let margin = (ends.map(TextWidth.of).max() ?? 0) + 2
        let room = max(8, min(100, width - margin - 4))
        let span = last > first ? Double(last) - Double(first) : 1
        let columns = min(
            room, max(2, span < Double(room) ? Int(span) * max(1, min(8, room / max(1, Int(span)))) : room))

        var cells = [[Int?]](repeating: [Int?](repeating: nil, count: columns), count: height)
        for (index, line) in shown.enumerated() {
            for column in 0..<columns {
                let round = Double(first) + span * Double(column) / Double(max(1, columns - 1))
                guard let value = Self.value(of: line.points, at: round) else { continue }
                let row = min(height - 1, max(0, Int((axis.position(value) * Double(height - 1)).rounded())))
                cells[row][column] = cells[row][column] == nil ? index : -1
            }
        }
        var text = ["  " + paint(title, .bold)]
        for (index, line) in shown.enumerated() {
            let name = TextWidth.shortened(TextWidth.harmless(line.name), to: max(8, width - 6))
            text.append("    " + paint(String(Self.letters[index]), Self.colours[index]) + " " + name)
        }
        for row in stride(from: height - 1, through: 0, by: -1) {
            let label = row == height - 1 ? ends[0] : row == 0 ? ends[2] : row == (height - 1) / 2 ? ends[1] : ""
            var line = ""
            for cell in cells[row] {
                switch cell {
                case nil: line += " "
                case -1: line += "*"
                case let index?: line += paint(String(Self.letters[index]), Self.colours[index])
                }
            }
            text.append(
                paint(TextWidth.padded(label, to: margin, right: true) + " ┤", .dim) + line.trimmingTrailingBlanks())
        }
        text.append(
            paint(String(repeating: " ", count: margin + 1) + "└" + String(repeating: "─", count: columns), .dim))
        let (left, right) = ("round \(first)", "\(last)")
        let gap = String(repeating: " ", count: max(1, columns - left.count - right.count))
        text.append(
            paint(String(repeating: " ", count: margin + 2) + (last > first ? left + gap + right : left), .dim))
        if lines.count > Self.most {
            text.append(paint("  … and \(lines.count - Self.most) more runs, not drawn", .dim))
        }
        return text
    }

    /// Between two points on the straight line; `nil` outside of them.
    private static func value(of points: [LearningCurve.Point], at round: Double) -> Double? {
        guard let after = points.firstIndex(where: { Double($0.round) >= round - 1e-9 }) else { return nil }
        let next = points[after]
        if abs(Double(next.round) - round) < 1e-9 { return next.value }
        guard after > 0 else { return nil }
        let before = points[after - 1]
        let share = (round - Double(before.round)) / (Double(next.round) - Double(before.round))
        return before.value + share * (next.value - before.value)
    }
}
