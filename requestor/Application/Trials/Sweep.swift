import Federation
import Foundation
import NeuralNetwork
import Reports
import Tensors

/// Values of one or two settings to be tried.
public struct SweepRequest: Sendable {
    /// Settings of all trials.
    public var train: TrainRequest
    /// One or two.
    public var axes: [SweepAxis]
    /// Of the trials of a rung one in so many goes on.
    public var factor: Int

    public init(train: TrainRequest, axes: [SweepAxis], factor: Int = 3) {
        self.train = train
        self.axes = axes
        self.factor = factor
    }
}

/// `sweep.json`: what was tried, and what came of it.
public struct SweepSummary: Sendable, Equatable, Codable {
    public struct Trial: Sendable, Equatable, Codable {
        /// Folder within the sweep's.
        public var name: String
        /// A value for each axis.
        public var values: [String]
        /// Rounds that it was trained for.
        public var rounds = 0
        /// Its best round, and its results on the validation set and, to be looked at only, the test set.
        public var bestRound: Int?
        public var accuracy: Double?
        public var loss: Double?
        public var testAccuracy: Double?
        public var testLoss: Double?
        /// Examples trained on, passes counted.
        public var examples = 0
        /// Why it was given up.
        public var failure: String?

        enum CodingKeys: String, CodingKey {
            case name, values, rounds, accuracy, loss, examples, failure
            case bestRound = "best_round"
            case testAccuracy = "test_accuracy"
            case testLoss = "test_loss"
        }
    }

    public var axes: [SweepAxis]
    public var factor: Int
    public var rungs: [SuccessiveHalving.Rung]
    public var trials: [Trial]
    /// Name of the best trial, once there is one.
    public var best: String?
    /// Examples trained on in all trials, and what the whole grid would have taken.
    public var examples = 0
    public var examplesOfGrid = 0

    enum CodingKeys: String, CodingKey {
        case axes, factor, rungs, trials, best, examples
        case examplesOfGrid = "examples_of_grid"
    }

    /// Positions of the trials, the best first: by accuracy on the validation set, by loss among equals and for a
    /// regression; those that went further before those that did not, and those that failed at the end.
    public var ranking: [Int] {
        trials.indices.sorted { first, second in
            let (one, other) = (trials[first], trials[second])
            if (one.failure == nil) != (other.failure == nil) { return one.failure == nil }
            if (one.loss == nil) != (other.loss == nil) { return other.loss == nil }
            if one.rounds != other.rounds { return one.rounds > other.rounds }
            let accuracies = (one.accuracy ?? -.infinity, other.accuracy ?? -.infinity)
            if accuracies.0 != accuracies.1 { return accuracies.0 > accuracies.1 }
            let losses = (one.loss ?? .infinity, other.loss ?? .infinity)
            return losses.0 != losses.1 ? losses.0 < losses.1 : first < second
        }
    }
}

/// Trains with values of one or two settings in the simulated fleet, and finds the best by successive halving.
///
/// Chosen is on a validation set, so that the test set stays unseen: a tenth of the training examples where the settings set
/// none apart.
public struct Sweep: Sendable {
    public let axes: [SweepAxis]
    public let rungs: [SuccessiveHalving.Rung]
    private let factor: Int
    private let group: TrialGroup

    static let file = "sweep.json"

    public var folder: String { group.folder }
    public var report: String { group.report }
    /// The model of a trial.
    public func model(of trial: String) -> String { group.run(trial).best }

    init(_ axes: [SweepAxis], factor: Int, _ rungs: [SuccessiveHalving.Rung], _ group: TrialGroup) {
        self.axes = axes
        self.factor = factor
        self.rungs = rungs
        self.group = group
    }

    /// What happens in a sweep.
    public enum Progress: Sendable {
        /// Rung by number from 0.
        case rung(Int, SuccessiveHalving.Rung)
        case trial(SweepSummary.Trial)
    }

    /// All combinations of the axes' values, the last axis fastest.
    static func combinations(_ axes: [SweepAxis]) -> [[String]] {
        axes.reduce([[]]) { rows, axis in rows.flatMap { row in axis.values.map { row + [$0] } } }
    }

    /// Trains until one trial is left, from where an earlier call was stopped. What has been trained is kept whenever it is
    /// stopped.
    public func run(_ progress: @Sendable (Progress) -> Void = { _ in }) async throws -> SweepSummary {
        let combinations = Self.combinations(axes)
        let digits = String(combinations.count).count
        var summary = SweepSummary(
            axes: axes, factor: factor, rungs: rungs,
            trials: combinations.enumerated().map { index, values in
                let number = String(index + 1)
                let name = "trial-" + String(repeating: "0", count: digits - number.count) + number
                return SweepSummary.Trial(name: name, values: values)
            })
        var chosen = Array(summary.trials.indices)
        for (number, rung) in rungs.enumerated() {
            progress(.rung(number, rung))
            for index in chosen {
                try Task.checkCancellation()
                summary.trials[index] = try await train(summary.trials[index], rounds: rung.rounds)
                progress(.trial(summary.trials[index]))
            }
            let next = number + 1 < rungs.count ? rungs[number + 1].trials : 1
            let good = summary.ranking.filter { chosen.contains($0) && summary.trials[$0].failure == nil }
            guard !good.isEmpty else {
                throw DeMLError(
                    .notFinite, "every trial failed: \(summary.trials[chosen[0]].failure ?? "")",
                    place: group.application.paths.shown(folder), hint: "try smaller values")
            }
            chosen = good.prefix(next).sorted()
            try write(&summary)
        }
        return summary
    }

    /// Trains a trial up to so many rounds, unless that is done.
    private func train(_ trial: SweepSummary.Trial, rounds: Int) async throws -> SweepSummary.Trial {
        let run = group.run(trial.name)
        var trial = trial
        let done = Files.exists(run.summary) ? try run.readSummary().rounds : 0
        if done < rounds {
            do {
                let handle = try group.start(
                    trial.name, changed: zip(axes, trial.values).map { ($0.key, $1) }, always: [("rounds", "\(rounds)")]
                )
                _ = try await handle.summary()
            } catch let error as DeMLError where [.workerFailed, .notFinite].contains(error.code) {
                // A learning rate that is too high is what a sweep is to find.
                trial.failure = error.message
                return trial
            }
        }
        let metrics = try run.readMetrics().filter { $0.round <= rounds }
        guard let index = Merit.best(of: metrics.map(\.merit)) else { return trial }
        let best = metrics[index]
        trial.rounds = rounds
        trial.bestRound = best.round
        trial.accuracy = best.validationAccuracy
        trial.loss = best.validationLoss
        trial.testAccuracy = best.accuracy
        trial.testLoss = best.loss
        let training = try run.readConfiguration().training
        trial.examples = metrics.reduce(0) { sum, round in
            let seen = Double(round.examples) * training.passes(clients: round.answers, examples: round.examples)
            return sum.addingSaturating(Int(exactly: seen.rounded()) ?? .max)
        }
        return trial
    }

    private func write(_ summary: inout SweepSummary) throws {
        summary.best = summary.ranking.first.map { summary.trials[$0].name }
        summary.examples = summary.trials.reduce(0) { $0.addingSaturating($1.examples) }
        let last = rungs.last?.rounds ?? 1
        // What a trial of the grid would take is known of those that were trained; of the others it is their mean.
        let known = summary.trials.filter { $0.rounds > 0 }
        let whole = known.reduce(0.0) { $0 + Double($1.examples) / Double($1.rounds) * Double(last) }
        let grid = whole / Double(max(1, known.count)) * Double(summary.trials.count)
        summary.examplesOfGrid = Int(exactly: grid.rounded()) ?? .max
        try Files.writeAtomically(RunJSON.encode(summary), to: folder + "/" + Self.file)
        try Files.writeAtomically(Array(try page(summary).html().utf8), to: report)
    }

    private func page(_ summary: SweepSummary) throws -> TrialsReport {
        let ranking = summary.ranking
        let shown = ranking.filter { summary.trials[$0].rounds > 0 }.prefix(TrialsReport.mostCurves)
        let hasAccuracy = summary.trials.contains { $0.accuracy != nil }
        let cells = summary.trials.map { trial in
            TrialsReport.Grid.Cell(
                value: hasAccuracy ? trial.accuracy : trial.loss.map { -$0 },
                text: hasAccuracy
                    ? trial.accuracy.map { Figures.percent($0) } ?? "–" : trial.loss.map(Figures.loss) ?? "–",
                note: trial.failure == nil ? "\(trial.rounds) rounds" : "failed")
        }
        return TrialsReport(
            title: (folder as NSString).lastPathComponent,
            subtitle: "successive halving over " + axes.map(\.key).joined(separator: " and "),
            table: Self.table(summary),
            note: "Chosen by the validation set. " + Self.work(summary),
            curves: try shown.map { index in
                let trial = summary.trials[index]
                return .init(
                    name: Self.label(axes, trial.values),
                    rounds: try group.run(trial.name).readMetrics().map(RunReport.Round.init))
            },
            grid: TrialsReport.Grid(
                columns: axes.last?.key ?? "", columnValues: axes.last?.values ?? [],
                rows: axes.count > 1 ? axes[0].key : "", rowValues: axes.count > 1 ? axes[0].values : [""],
                cells: cells))
    }

    /// `learning_rate 0.1, batch_size 10`
    public static func label(_ axes: [SweepAxis], _ values: [String]) -> String {
        zip(axes, values).map { "\($0.key) \($1)" }.joined(separator: ", ")
    }

    /// How much was trained.
    public static func work(_ summary: SweepSummary) -> String {
        let share = Double(summary.examples) / Double(max(1, summary.examplesOfGrid))
        return "Trained on \(Figures.grouped(summary.examples)) examples, \(Figures.percent(share, digits: 0)) of what"
            + " training all \(summary.trials.count) trials to the end takes."
    }

    /// A row a trial, the best first.
    public static func table(_ summary: SweepSummary) -> TrialsReport.Table {
        let hasAccuracy = summary.trials.contains { $0.accuracy != nil }
        let head =
            ["trial"] + summary.axes.map(\.key) + ["rounds"] + (hasAccuracy ? ["validation"] : []) + [
                "loss", "best round",
            ]
            + (hasAccuracy ? ["test"] : ["test loss"])
        let rows = summary.ranking.map { index -> [String] in
            let trial = summary.trials[index]
            if trial.failure != nil {
                return [trial.name] + trial.values + ["failed"] + [String](repeating: "–", count: hasAccuracy ? 4 : 3)
            }
            var cells = [trial.name] + trial.values + ["\(trial.rounds)"]
            if hasAccuracy { cells.append(trial.accuracy.map { Figures.percent($0) } ?? "–") }
            cells += [trial.loss.map(Figures.loss) ?? "–", trial.bestRound.map(String.init) ?? "–"]
            cells.append(
                hasAccuracy
                    ? trial.testAccuracy.map { Figures.percent($0) } ?? "–" : trial.testLoss.map(Figures.loss) ?? "–")
            return cells
        }
        return TrialsReport.Table(head: head, rows: rows, emphasised: 0)
    }
}

extension Application {
    /// A sweep, ready to be run: everything that is wrong with its settings, for any of its values, is found here.
    public func sweep(_ request: SweepRequest) throws -> Sweep {
        if let resume = request.train.resume { return try resumedSweep(resume, request) }
        guard (1...2).contains(request.axes.count), Set(request.axes.map(\.key)).count == request.axes.count else {
            throw DeMLError(
                .usage, "a sweep is over one or two settings, not \(request.axes.count)", place: "--over",
                hint: "write --over learning_rate=0.01,0.03,0.1")
        }
        guard (2...100).contains(request.factor) else {
            throw DeMLError(.usage, "--factor is to be from 2 to 100, not \(request.factor)")
        }
        // Of the sweep, not of a trial: what a person asks for by the same names is for the training after it.
        let own: [(key: String, text: String)] = [
            ("fleet", "simulated"), ("comparison", "false"), ("patience", "null"), ("target_accuracy", "null"),
            ("repeat", "1"),
        ]
        var settings = try TrainSettings(
            file: request.train.file, resumed: nil, given: request.train.settings + own, paths: paths)
        let combinations = Sweep.combinations(request.axes)
        for values in combinations {
            _ = try TrainSettings(
                file: request.train.file, resumed: nil,
                given: request.train.settings + own + zip(request.axes, values).map { ($0.key, $1) }, paths: paths)
        }
        if settings.configuration.data.validationFraction == nil {
            settings.configuration.data.validationFraction = 0.1
        }
        try TrialGroup.settle(
            &settings.configuration, given: settings.given.union(request.axes.map(\.key)), paths)
        let folder =
            try settings.configuration.output.folder ?? paths.reserveRunFolder(name: settings.name + "-sweep")
        settings.configuration.output.folder = nil
        let rungs = SuccessiveHalving(
            trials: combinations.count, rounds: settings.configuration.federation.rounds, factor: request.factor
        ).rungs
        let group = TrialGroup(folder: folder, application: self, worker: nil)
        try group.create(
            settings.configuration,
            SweepSummary(axes: request.axes, factor: request.factor, rungs: rungs, trials: []), as: Sweep.file)
        return Sweep(request.axes, factor: request.factor, rungs, group)
    }

    private func resumedSweep(_ resume: String, _ request: SweepRequest) throws -> Sweep {
        let group = TrialGroup(folder: paths.resolved(resume), application: self, worker: nil)
        guard Files.exists(group.settings), Files.exists(group.folder + "/" + Sweep.file) else {
            throw DeMLError(.notFound, "there is no sweep in this folder", place: paths.shown(group.folder))
        }
        guard request.axes.isEmpty, request.train.settings.isEmpty, request.train.file == nil else {
            throw DeMLError(
                .usage, "a sweep goes on with its settings as they are", hint: "leave the options away, or start anew")
        }
        let summary = try group.read(SweepSummary.self, Sweep.file)
        guard !summary.rungs.isEmpty, (1...2).contains(summary.axes.count) else {
            throw DeMLError(.malformed, "it is not what DeML writes there", place: group.folder + "/" + Sweep.file)
        }
        return Sweep(summary.axes, factor: summary.factor, summary.rungs, group)
    }
}
