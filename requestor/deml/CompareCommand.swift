import Application
import ArgumentParser
import CommandLineSupport
import Federation
import Reports

struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Set runs side by side: what they reached, what it took, and where their settings differ.",
        discussion: "  deml compare runs/mnist-mlp runs/mnist-mlp-2")

    @Argument(help: ArgumentHelp("Folders of runs.", valueName: "run"))
    var runs: [String]
    @Flag(help: "Print one line of JSON a run.")
    var json = false

    func run() throws {
        try CommandErrors.reported { try compare() }
    }

    private func compare() throws {
        let comparison = try Application.ofThisProcess.compare(runs)
        let rows = comparison.rows
        if json {
            for row in rows { try Output.standard.json(row) }
            return
        }
        let terminal = Terminal.current()
        let paint = Paint(terminal.hasColour)
        var lines = table(rows, paint: paint, width: terminal.columns)
        for row in rows {
            let points = row.metrics.filter { $0.round > 0 }.compactMap { round in
                round.accuracy.map { LearningCurve.Point(round: round.round, value: $0) }
            }
            if points.count > 1 {
                lines +=
                    [""]
                    + LearningCurve(title: row.run, points: points, height: 5).lines(
                        paint: paint, width: terminal.columns)
            }
        }
        if rows.count > 1 {
            lines += [""] + differences(comparison, paint: paint, width: terminal.columns)
        }
        Output.standard.lines(lines)
    }

    private func table(_ rows: [RunComparison.Row], paint: Paint, width: Int) -> [String] {
        let showsCost = rows.contains { $0.summary.costGLM > 0 }
        var columns: [TextTable.Column] = [
            .init("run", toRight: false), .init("accuracy"), .init("loss"), .init("best"), .init("rounds"),
            .init("time"),
            .init("bytes"),
        ]
        if showsCost { columns.append(.init("cost")) }
        columns += [.init("one place"), .init("one shard")]
        let texts = rows.map { row -> [String] in
            let summary = row.summary
            var cells = [
                row.run, summary.accuracy.map { Figures.percent($0) } ?? "–", Figures.loss(summary.loss),
                summary.bestAccuracy.map { "\(Figures.percent($0)) (\(summary.bestRound))" } ?? "–",
                "\(summary.rounds)",
                Figures.duration(summary.seconds), Figures.bytes(summary.bytesUp.addingSaturating(summary.bytesDown)),
            ]
            if showsCost { cells.append(Figures.cost(summary.costGLM)) }
            for reference in [summary.comparison?.onePlace, summary.comparison?.oneShard] {
                cells.append(reference.map { $0.accuracy.map { Figures.percent($0) } ?? Figures.loss($0.loss) } ?? "–")
            }
            return cells
        }
        let best = Summary.best(of: rows.map(\.summary))
        return TextTable(columns, rows: texts, emphasised: rows.count > 1 ? Set([best].compactMap { $0 }) : [])
            .lines(paint: paint, width: width)
    }

    /// Settings in which the runs differ, a column a run.
    private func differences(_ comparison: RunComparison, paint: Paint, width: Int) -> [String] {
        let differences = comparison.differences
        guard !differences.isEmpty else { return [paint("  The settings are the same.", .dim)] }
        let columns =
            [TextTable.Column("setting", toRight: false)]
            + comparison.rows.map { .init(TextWidth.cut($0.run, to: 28)) }
        return TextTable(
            columns, rows: differences.map { [$0.key] + $0.values.map { TextWidth.cut($0, to: 28) } }
        ).lines(paint: paint, width: width)
    }
}
