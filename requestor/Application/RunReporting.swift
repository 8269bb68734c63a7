import Federation
import Fleets
import Foundation
import Reports
import Tensors

extension RunReport.Round {
    public init(_ metrics: RoundMetrics) {
        self.init(
            number: metrics.round, accuracy: metrics.accuracy ?? .nan, loss: metrics.loss, trainLoss: metrics.trainLoss,
            seconds: metrics.seconds, bytesUp: metrics.bytesUp, bytesDown: metrics.bytesDown, cost: metrics.costGLM,
            clients: metrics.answers, failures: metrics.failures, validationAccuracy: metrics.validationAccuracy,
            validationLoss: metrics.validationLoss)
    }
}

extension RunReport.Worker {
    public init(_ totals: WorkerTotals) {
        self.init(
            name: totals.provider.name, tasks: totals.tasks, failures: totals.failures, examples: totals.examples,
            seconds: totals.seconds, samplesPerSecond: totals.samplesPerSecond > 0 ? totals.samplesPerSecond : nil,
            bytesUp: totals.bytesUp, bytesDown: totals.bytesDown, cost: totals.costGLM)
    }
}

extension RunReport.Place {
    /// - Parameter rounds: those of the federated run, which made as many passes in them.
    init(name: String, _ result: ReferenceResult, rounds: Int) {
        self.init(
            name: name, accuracy: result.accuracy ?? .nan, loss: result.loss, seconds: result.seconds,
            curve: result.curve.map {
                RunReport.CurvePoint(
                    round: Double($0.pass * rounds) / Double(max(1, result.passes)), accuracy: $0.accuracy ?? .nan,
                    loss: $0.loss)
            })
    }
}

/// What is shown of a run folder, as far as the run has come.
public enum RunReporting {
    /// The federated model, then what it is compared with.
    public static func places(_ summary: Summary, workers: Int) -> [RunReport.Place] {
        var places = [
            RunReport.Place(
                name: "federated, \(workers) worker\(workers == 1 ? "" : "s")", accuracy: summary.accuracy ?? .nan,
                loss: summary.loss, seconds: summary.seconds,
                bytes: summary.bytesUp.addingSaturating(summary.bytesDown),
                cost: summary.costGLM)
        ]
        if let onePlace = summary.comparison?.onePlace {
            places.append(.init(name: "one place", onePlace, rounds: summary.rounds))
        }
        if let oneShard = summary.comparison?.oneShard {
            places.append(.init(name: "one shard alone", oneShard, rounds: summary.rounds))
        }
        return places
    }

    /// What was checked in a run, in a sentence.
    public static func sentence(_ audits: AuditTotals, rounds: Int) -> String {
        func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
        var text =
            "\(audits.audited) of \(counted(audits.answers, "answer")) recomputed here, in \(audits.rounds) of "
            + "\(counted(rounds, "round")), in \(Figures.duration(audits.homeSeconds)): "
        text +=
            audits.mismatches == 0 ? "all right" : "\(audits.mismatches) mismatch\(audits.mismatches == 1 ? "" : "es")"
        if audits.falseRefusals > 0 { text += ", \(counted(audits.falseRefusals, "false refusal"))" }
        if audits.roundsRedone > 0 { text += ", \(counted(audits.roundsRedone, "round")) done again" }
        return text
    }

    /// Writes `report.html` from what lies in the run folder.
    ///
    /// - Parameter failures: what failed, where that is known already; else it is read from `events.jsonl`.
    static func write(_ folder: RunFolder, failures: [String]? = nil) throws {
        let page = try report(folder, failures: failures).html()
        try Files.writeAtomically(Array(page.utf8), to: folder.report)
    }

    static func report(_ folder: RunFolder, failures known: [String]? = nil) throws -> RunReport {
        let configuration = try folder.readConfiguration()
        let metrics = try folder.readMetrics()
        // A run that is still going on, or was stopped, has no summary.
        let summary = Files.exists(folder.summary) ? try folder.readSummary() : nil
        var failures = known ?? []
        if known == nil { try folder.forEachEvent { event in failureLine(event).map { failures.append($0) } } }
        let classes = summary.flatMap { $0.confusion?.count ?? $0.labelCounts?.first?.count } ?? 0
        let names = classNames(configuration, count: classes)
        return RunReport(
            title: (folder.path as NSString).lastPathComponent, subtitle: subtitle(configuration, summary),
            rounds: metrics.map(RunReport.Round.init), workers: summary?.workers.map(RunReport.Worker.init) ?? [],
            places: summary.map { places($0, workers: configuration.federation.workers) } ?? [],
            classes: names, labelCounts: summary?.labelCounts ?? [],
            confusion: summary?.confusion ?? [], failures: failures, settings: settings(configuration),
            modelSHA256: summary?.modelSHA256 ?? "",
            measures: (summary?.metrics ?? metrics.last?.metrics).map { Measures($0, classes: names) },
            audits: summary.flatMap { summary in summary.audits.map { audits(of: $0, rounds: summary.rounds) } })
    }

    private static func audits(of totals: AuditTotals, rounds: Int) -> RunReport.Audits {
        RunReport.Audits(
            sentence: sentence(totals, rounds: rounds),
            providers: totals.providers.map {
                .init(
                    name: $0.provider.name, answers: $0.answers, audited: $0.audited, mismatches: $0.mismatches,
                    falseRefusals: $0.falseRefusals)
            })
    }

    static func failureLine(_ event: RunEvent) -> String? {
        switch event.kind {
        case .attemptFailed(let failure): failure.line
        case .audited(let audit) where audit.verdict == .wrong: audit.line
        case .roundsRedone(let redone): redone.line
        default: nil
        }
    }

    private static func subtitle(_ configuration: RunConfiguration, _ summary: Summary?) -> String {
        var parts: [String] = []
        if let summary { parts.append("\(Figures.grouped(summary.parameters)) parameters") }
        parts.append(
            "\(configuration.training.optimizer.rawValue), learning rate \(Figures.short(configuration.training.learningRate))"
        )
        parts.append(
            (configuration.data.path as NSString).lastPathComponent + " divided \(configuration.federation.partition)")
        let asked = configuration.clientsPerRound
        let workers =
            "\(configuration.federation.workers) \(configuration.machines.fleet.rawValue) worker\(configuration.federation.workers == 1 ? "" : "s")"
        parts.append(workers + (asked < configuration.federation.workers ? ", \(asked) a round" : ""))
        return parts.joined(separator: " · ")
    }

    /// Names are known for the datasets that come with some; elsewhere a class is its number.
    private static func classNames(_ configuration: RunConfiguration, count: Int) -> [String] {
        let fashion = [
            "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
        ]
        if (configuration.data.path as NSString).lastPathComponent.contains("fashion-mnist"), count == fashion.count {
            return fashion
        }
        return (0..<count).map(String.init)
    }

    /// The settings as the run folder has them, one a line; what is long (the model) as JSON.
    private static func settings(_ configuration: RunConfiguration) -> [RunReport.Setting] {
        guard let bytes = try? RunJSON.encodeLine(configuration),
            let object = try? JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
        else { return [] }
        return object.sorted { $0.key < $1.key }.compactMap { key, value in
            if value is NSNull { return nil }
            if let text = value as? String { return .init(key, text) }
            guard
                let json = try? JSONSerialization.data(
                    withJSONObject: value, options: [.sortedKeys, .fragmentsAllowed, .withoutEscapingSlashes])
            else { return nil }
            return .init(key, String(decoding: json, as: UTF8.self))
        }
    }
}
