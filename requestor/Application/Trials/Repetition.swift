import Federation
import Foundation
import NeuralNetwork
import Reports
import Tensors

/// `repeat.json`: the same run with other seeds, and what they came to.
public struct RepetitionSummary: Sendable, Equatable, Codable {
    public struct Run: Sendable, Equatable, Codable {
        /// Folder within the group.
        public var name: String
        public var seed: UInt64
        public var summary: Summary
    }

    /// Mean and standard deviation (of a sample: over n-1) of one figure of all runs.
    public struct Figure: Sendable, Equatable, Codable {
        /// As in `summary.json`, or in its `metrics`.
        public var key: String
        public var mean: Double
        /// `nil` for a single run.
        public var deviation: Double?
    }

    public var seeds: [UInt64]
    /// Those that have ended, in the order of the seeds.
    public var runs: [Run] = []
    public var figures: [Figure] = []

    init(seeds: [UInt64]) { self.seeds = seeds }

    /// With what the runs came to.
    init(seeds: [UInt64], runs: [Run]) {
        self.seeds = seeds
        self.runs = runs
        let columns = runs.map { Dictionary(uniqueKeysWithValues: Self.figures(of: $0.summary)) }
        for (key, _) in runs.first.map({ Self.figures(of: $0.summary) }) ?? [] {
            let values = columns.compactMap { $0[key] ?? nil }
            guard values.count == runs.count, values.allSatisfy(\.isFinite) else { continue }
            let mean = values.reduce(0, +) / Double(values.count)
            let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
            figures.append(
                Figure(
                    key: key, mean: mean,
                    deviation: values.count > 1 ? (squares / Double(values.count - 1)).squareRoot() : nil))
        }
    }

    private static func figures(of summary: Summary) -> [(String, Double?)] {
        let own: [(String, Double?)] = [
            ("accuracy", summary.accuracy), ("loss", summary.loss), ("best_accuracy", summary.bestAccuracy),
            ("best_loss", summary.bestLoss), ("rounds", Double(summary.rounds)), ("seconds", summary.seconds),
            ("one_place_accuracy", summary.comparison?.onePlace?.accuracy),
            ("one_place_loss", summary.comparison?.onePlace?.loss),
        ]
        let measures = (summary.metrics?.figures ?? []).filter { $0.key != "accuracy" }
        return own + measures.map { ($0.key, $0.value) }
    }
}

/// A training that is done several times, with a seed after the other.
public struct Repetition: Sendable {
    public let configuration: RunConfiguration
    public let seeds: [UInt64]
    private let group: TrialGroup

    static let file = "repeat.json"

    public var folder: String { group.folder }
    public var report: String { group.report }

    init(_ configuration: RunConfiguration, seeds: [UInt64], _ group: TrialGroup) {
        self.configuration = configuration
        self.seeds = seeds
        self.group = group
    }

    /// What a seed's run is: done already, or to be waited for.
    public enum Start: Sendable {
        case finished(Summary)
        case running(RunHandle)
    }

    public func name(_ index: Int) -> String { "seed-\(seeds[index])" }

    /// Starts the run of a seed, goes on with it, or reads what it came to.
    public func start(_ index: Int) throws -> Start {
        let run = group.run(name(index))
        if Files.exists(run.summary) { return .finished(try run.readSummary()) }
        do {
            return .running(
                try group.start(
                    name(index), changed: [("seed", "\(seeds[index])")], always: [("repeat", "1")]))
        } catch {
            group.removeIfEmpty(Self.file)
            throw error
        }
    }

    /// Writes `repeat.json` and the report of what has ended.
    public func finish(_ summaries: [Summary]) throws -> RepetitionSummary {
        let summary = RepetitionSummary(
            seeds: seeds,
            runs: summaries.indices.map { .init(name: name($0), seed: seeds[$0], summary: summaries[$0]) })
        try Files.writeAtomically(RunJSON.encode(summary), to: folder + "/" + Self.file)
        let curves = try summary.runs.map { run in
            try (name: run.name, rounds: group.run(run.name).readMetrics().map(RunReport.Round.init))
        }
        let page = TrialsReport(
            title: (folder as NSString).lastPathComponent,
            subtitle: "the same settings with \(seeds.count) seeds", table: Self.table(summary),
            note: "The deviation is the standard deviation of a sample, over the seeds.",
            curves: curves.map { .init(name: $0.name, rounds: $0.rounds) })
        try Files.writeAtomically(Array(page.html().utf8), to: report)
        return summary
    }

    /// A row a run, then mean and deviation.
    public static func table(_ summary: RepetitionSummary) -> TrialsReport.Table {
        let figures = Dictionary(uniqueKeysWithValues: summary.figures.map { ($0.key, $0) })
        var columns: [(title: String, key: String, text: (Double) -> String)] = [
            ("accuracy", "accuracy", { Figures.percent($0) }), ("loss", "loss", { Figures.loss($0) }),
            ("best", "best_accuracy", { Figures.percent($0) }),
            ("balanced accuracy", "balanced_accuracy", { Figures.percent($0) }),
            ("ROC AUC", "roc_auc", { Figures.decimal($0, digits: 4) }), ("RMSE", "rmse", { Figures.loss($0) }),
            ("R²", "r2", { Figures.loss($0) }), ("one place", "one_place_accuracy", { Figures.percent($0) }),
            ("rounds", "rounds", { Figures.short($0) }), ("time", "seconds", { Figures.duration($0) }),
        ]
        columns.removeAll { figures[$0.key] == nil }
        var rows = summary.runs.map { run in
            let alone = RepetitionSummary(seeds: [run.seed], runs: [run])
            let values = Dictionary(uniqueKeysWithValues: alone.figures.map { ($0.key, $0.mean) })
            return [run.name] + columns.map { column in values[column.key].map(column.text) ?? "–" }
        }
        rows.append(["mean"] + columns.map { column in figures[column.key].map { column.text($0.mean) } ?? "–" })
        rows.append(
            ["deviation"] + columns.map { column in figures[column.key]?.deviation.map(column.text) ?? "–" })
        return TrialsReport.Table(head: [""] + columns.map(\.title), rows: rows, emphasised: rows.count - 2)
    }
}

extension Application {
    /// The runs that the settings ask for by `repeat`; nil where that is one.
    public func repetition(_ request: TrainRequest) throws -> Repetition? {
        if let resume = request.resume {
            let group = TrialGroup(folder: paths.resolved(resume), application: self, worker: request.worker)
            guard Files.exists(group.settings), Files.exists(group.folder + "/" + Repetition.file) else { return nil }
            guard request.settings.isEmpty, request.golem.isEmpty else {
                throw DeMLError(
                    .usage, "runs that are repeated go on with their settings as they are",
                    hint: "leave the options away, or start them anew")
            }
            let seeds = try group.read(RepetitionSummary.self, Repetition.file).seeds
            let settings = try TrainSettings(file: group.settings, resumed: nil, given: [], paths: paths)
            return Repetition(settings.configuration, seeds: seeds, group)
        }
        let settings = try TrainSettings(
            file: request.file, resumed: nil, given: request.settings, golem: request.golem, paths: paths)
        var configuration = settings.configuration
        let count = configuration.federation.repetitions
        guard count > 1 else { return nil }
        try TrialGroup.settle(&configuration, given: settings.given, paths)
        let folder = try configuration.output.folder ?? paths.reserveRunFolder(name: settings.name)
        configuration.output.folder = nil
        configuration.federation.repetitions = 1
        let seeds = (0..<count).map { configuration.federation.seed &+ UInt64($0) }
        let group = TrialGroup(folder: folder, application: self, worker: request.worker)
        try group.create(configuration, RepetitionSummary(seeds: seeds), as: Repetition.file)
        return Repetition(configuration, seeds: seeds, group)
    }
}
