import ArgumentParser
import CommandLineSupport
import Federation
import Foundation
import Reports
import Tensors

struct CompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Set runs side by side: what they reached, what it took, and where their settings differ.",
        discussion: "  deml compare runs/mnist-mlp runs/mnist-mlp-2")

    @Argument(help: ArgumentHelp("Folders of runs.", valueName: "run"))
    var runs: [String]
    @Flag(help: "Print one line of JSON a run.")
    var json = false

    private struct Row: Encodable {
        var run: String
        var summary: Summary
    }

    func run() throws {
        try CommandErrors.reported { try compare() }
    }

    private func compare() throws {
        let folders = runs.map { RunFolder(path: Paths.resolved($0, from: Paths.workingFolder)) }
        for folder in folders where !Files.exists(folder.summary) {
            let started = Files.exists(folder.config)
            throw DeMLError(
                .notFound,
                started ? "the run has not ended: there is no summary.json" : "there is no run in this folder",
                place: Paths.shown(folder.path),
                hint: started ? "finish it by deml train --resume \(Paths.shown(folder.path))" : nil)
        }
        // The last part of the path, where that tells the runs apart.
        let names = folders.map { ($0.path as NSString).lastPathComponent }
        let isClear = Set(names).count == names.count
        let rows = try zip(folders, names).map { folder, name in
            Row(run: isClear ? name : Paths.shown(folder.path), summary: try folder.readSummary())
        }
        if json {
            for row in rows { try Output.standard.json(row) }
            return
        }
        let terminal = Terminal.current()
        let paint = Paint(terminal.hasColour)
        let configurations = try folders.map { try $0.readConfiguration() }
        var lines = table(rows, paint: paint, width: terminal.columns)
        for (folder, row) in zip(folders, rows) {
            let points = try folder.readMetrics().filter { $0.round > 0 }.compactMap { round in
                round.accuracy.map { LearningCurve.Point(round: round.round, value: $0) }
            }
            if points.count > 1 {
                lines +=
                    [""]
                    + LearningCurve(title: row.run, points: points, height: 5).lines(
                        paint: paint, width: terminal.columns)
            }
        }
        if configurations.count > 1 {
            lines += [""] + differences(configurations, names: rows.map(\.run), paint: paint, width: terminal.columns)
        }
        Output.standard.lines(lines)
    }

    private func table(_ rows: [Row], paint: Paint, width: Int) -> [String] {
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
                Figures.duration(summary.seconds), Figures.bytes(summary.bytesUp + summary.bytesDown),
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

    /// Settings in which the runs differ from the first, a column a run.
    private func differences(
        _ configurations: [RunConfiguration], names: [String], paint: Paint, width: Int
    ) -> [String] {
        let first = configurations[0]
        var keys: [String] = []
        var values: [[String: String]] = configurations.map { _ in [:] }
        for (index, configuration) in configurations.enumerated().dropFirst() {
            for difference in first.allDifferences(to: configuration) where difference.key != "output" {
                if !keys.contains(difference.key) { keys.append(difference.key) }
                values[0][difference.key] = difference.was
                values[index][difference.key] = difference.now
            }
        }
        guard !keys.isEmpty else { return [paint("  The settings are the same.", .dim)] }
        let rows = keys.map { key in
            [key] + values.map { TextWidth.cut($0[key] ?? values[0][key] ?? "", to: 28) }
        }
        let columns = [TextTable.Column("setting", toRight: false)] + names.map { .init(TextWidth.cut($0, to: 28)) }
        return TextTable(columns, rows: rows).lines(paint: paint, width: width)
    }
}
