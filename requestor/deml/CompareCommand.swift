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
        let chart = chart(rows).drawn(paint: paint, width: terminal.columns)
        if !chart.isEmpty { lines += [""] + chart }
        if rows.count > 1 {
            lines += [""] + differences(comparison, paint: paint, width: terminal.columns)
        }
        Output.standard.lines(lines)
    }

    /// All runs on one axis: accuracies, where every run has some, else losses.
    private func chart(_ rows: [RunComparison.Row]) -> CurveChart {
        let showsAccuracy = rows.allSatisfy { $0.metrics.contains { $0.accuracy != nil } }
        let lines = rows.map { row in
            CurveChart.Line(
                name: row.run,
                points: row.metrics.compactMap { round in
                    (showsAccuracy ? round.accuracy : round.loss).map { .init(round: round.round, value: $0) }
                })
        }
        if showsAccuracy { return CurveChart(title: "Test accuracy", lines: lines) }
        let isPositive = rows.allSatisfy { $0.metrics.allSatisfy { !($0.loss < 0) } }
        return CurveChart(
            title: "Test loss", lines: lines, floor: isPositive ? 0 : -.infinity, ceiling: .infinity,
            written: { Figures.short(($0 * 1e4).rounded() / 1e4) })
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
                TextWidth.harmless(row.run), summary.accuracy.map { Figures.percent($0) } ?? "–",
                Figures.loss(summary.loss),
                RunText.best(round: summary.bestRound, accuracy: summary.bestAccuracy, loss: summary.bestLoss),
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
        let table = TextTable(columns, rows: texts, emphasised: rows.count > 1 ? Set([best].compactMap { $0 }) : [])
        return (table.leastWidth <= width ? table : table.turned).lines(paint: paint, width: width)
    }

    /// Settings in which the runs differ, a column a run.
    private func differences(_ comparison: RunComparison, paint: Paint, width: Int) -> [String] {
        let differences = comparison.differences
        guard !differences.isEmpty else { return [paint("  The settings are the same.", .dim)] }
        let columns =
            [TextTable.Column("setting", toRight: false)]
            + comparison.rows.map { .init(TextWidth.harmless($0.run), isText: true) }
        func text(_ value: String) -> String { value == "null" ? "–" : TextWidth.harmless(value) }
        return TextTable(columns, rows: differences.map { [$0.key] + $0.values.map(text) })
            .lines(paint: paint, width: width)
    }
}
