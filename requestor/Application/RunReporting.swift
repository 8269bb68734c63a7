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

extension RunReport.Agreement {
    init(_ expense: AgreementExpense) {
        self.init(
            provider: expense.provider.name, id: expense.agreement, tasks: expense.tasks, seconds: expense.seconds,
            billed: expense.billedGLM, paid: expense.paidGLM, state: expense.state, reason: expense.reason)
    }
}

extension RunReport.Place {
    /// - Parameter rounds: those of the federated run, which made as many passes in them.
    init(_ kind: Kind, name: String, _ result: ReferenceResult, rounds: Int) {
        self.init(
            kind, name: name, accuracy: result.accuracy ?? .nan, loss: result.loss, seconds: result.seconds,
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
                .federated, name: "federated, \(workers) worker\(workers == 1 ? "" : "s")",
                accuracy: summary.accuracy ?? .nan,
                loss: summary.loss, seconds: summary.seconds,
                bytes: summary.bytesUp.addingSaturating(summary.bytesDown),
                cost: summary.costGLM)
        ]
        if let onePlace = summary.comparison?.onePlace {
            places.append(.init(.onePlace, name: "one place", onePlace, rounds: summary.rounds))
        }
        if let oneShard = summary.comparison?.oneShard {
            places.append(.init(.oneShard, name: "one shard alone", oneShard, rounds: summary.rounds))
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
        let data = try folder.readData()
        let names = classNames(configuration, data, count: classes)
        let best = summary?.bestRound ?? RoundMetrics.best(of: metrics)?.round
        let isRented = configuration.machines.fleet == .golem
        let times = summary.flatMap { summary in
            summary.wallSeconds.map {
                RunReport.Times(whole: $0, rounds: summary.seconds, comparison: summary.comparisonSeconds ?? 0)
            }
        }
        return RunReport(
            title: try title(folder, configuration, data), subtitle: subtitle(folder, configuration, summary),
            rounds: metrics.map(RunReport.Round.init), workers: summary?.workers.map(RunReport.Worker.init) ?? [],
            places: summary.map { places($0, workers: configuration.federation.workers) } ?? [],
            classes: names, labelCounts: summary?.labelCounts ?? [],
            confusion: summary?.confusion ?? [], failures: failures, settings: settings(configuration),
            modelSHA256: summary?.modelSHA256 ?? "",
            measures: (summary?.metrics ?? metrics.last?.metrics).map { Measures($0, classes: names) },
            audits: summary.flatMap { summary in summary.audits.map { audits(of: $0, rounds: summary.rounds) } },
            bestRound: best, stop: summary.flatMap { stop($0, configuration) },
            agreements: summary?.agreements.map(RunReport.Agreement.init) ?? [],
            cost: isRented ? summary?.costGLM : nil,
            decisions: data?.decisions.map { .init($0.subject, $0.text, isWarning: $0.isWarning) } ?? [],
            mistakes: summary == nil ? [] : mistakes(try folder.readMistakes(), classes: classes),
            commands: commands(folder, isFinished: summary != nil, rounds: configuration.federation.rounds),
            times: times, model: model(configuration))
    }

    private static func model(_ configuration: RunConfiguration) -> RunReport.Model? {
        guard case .description(let model)? = configuration.model.source else { return nil }
        let table = ModelTable(model)
        return .init(head: ModelTable.head, rows: table.rows, note: table.note)
    }

    /// Why there were no more rounds, where that was not because all were done.
    private static func stop(_ summary: Summary, _ configuration: RunConfiguration) -> String? {
        switch summary.endedBy {
        case .patience:
            "no better for \(configuration.federation.patience ?? summary.rounds - summary.bestRound) rounds"
        case .targetAccuracy: "the target accuracy is reached"
        case .rounds, nil: nil
        }
    }

    /// A run folder may come from anybody: a picture is base64 of a reasonable length, and nothing else.
    private static func mistakes(_ mistakes: [Mistake], classes: Int) -> [RunReport.Mistake] {
        mistakes.prefix(12).compactMap { mistake in
            let isPicture =
                mistake.png.utf8.count <= 65_536
                && mistake.png.utf8.allSatisfy { byte in
                    switch byte {
                    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="):
                        true
                    default: false
                    }
                }
            guard isPicture else { return nil }
            return .init(
                row: mistake.row, truth: mistake.truth, predicted: mistake.predicted,
                probability: mistake.probability, png: mistake.png)
        }
    }

    /// What a reader of the page may want to do next, as commands to copy.
    private static func commands(_ folder: RunFolder, isFinished: Bool, rounds: Int) -> [RunReport.Command] {
        // As it was most likely named: runs/NAME seen from the folder above.
        let parts = folder.path.split(separator: "/")
        let run = shellWord(
            parts.count > 1 && parts[parts.count - 2] == "runs" ? parts.suffix(2).joined(separator: "/") : folder.path)
        guard isFinished else { return [.init("Go on with the run", "deml train --resume \(run)")] }
        return [
            .init(
                "Classes or values for examples of your own",
                "deml predict --model \(run) --data FILE --count 0 --output predictions.csv"),
            .init("All measures of the best model, on its test set", "deml evaluate --model \(run)"),
            .init("More rounds", "deml train --resume \(run) --rounds \(rounds.multipliedSaturating(by: 2))"),
            .init("Side by side with another run", "deml compare \(run) OTHER_RUN"),
        ]
    }

    private static func shellWord(_ text: String) -> String {
        let isPlain = text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-/+:@".contains($0)) }
        return isPlain ? text : "'" + text.replacing("'", with: "'\\''") + "'"
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

    /// Data, model and the day on which the run began.
    private static func title(
        _ folder: RunFolder, _ configuration: RunConfiguration, _ data: RunData?
    ) throws -> String {
        var parts = [(configuration.data.path as NSString).lastPathComponent]
        if let name = data?.name, !name.isEmpty { parts = [(name as NSString).lastPathComponent] }
        if case .description(let model)? = configuration.model.source {
            parts.append("\(model.kindName), \(Figures.grouped(model.parameterCount)) parameters")
        }
        if let date = try folder.firstEventTime() { parts.append(day(date)) }
        return parts.joined(separator: " · ")
    }

    /// `30 November 2026`, of universal time, so that the page does not depend on where it is made.
    static func day(_ date: Date) -> String {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        let parts = calendar.dateComponents([.year, .month, .day], from: date)
        let months = [
            "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
            "November", "December",
        ]
        guard let year = parts.year, let month = parts.month, let day = parts.day, months.indices.contains(month - 1)
        else { return "" }
        return "\(day) \(months[month - 1]) \(year)"
    }

    private static func subtitle(
        _ folder: RunFolder, _ configuration: RunConfiguration, _ summary: Summary?
    ) -> String {
        var parts = [
            "run " + (folder.path as NSString).lastPathComponent,
            "\(configuration.training.optimizer.rawValue), learning rate "
                + Figures.short(configuration.training.learningRate),
            "divided \(configuration.federation.partition)",
        ]
        let asked = configuration.clientsPerRound
        let count = configuration.federation.workers
        let workers = "\(count) \(configuration.machines.fleet.rawValue) worker\(count == 1 ? "" : "s")"
        parts.append(workers + (asked < count ? ", \(asked) a round" : ""))
        return parts.joined(separator: " · ")
    }

    /// The names that the data gave its classes, or that are known of it; a class without one is its number.
    private static func classNames(_ configuration: RunConfiguration, _ data: RunData?, count: Int) -> [String] {
        let fashion = [
            "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
        ]
        if (configuration.data.path as NSString).lastPathComponent.contains("fashion-mnist"), count == fashion.count {
            return fashion
        }
        if case .classes(let names, _)? = data?.schema.target, names.count == count { return names }
        return (0..<count).map(String.init)
    }

    /// The settings as the run folder has them, one a line, by their path: `training.batch_size`.
    private static func settings(_ configuration: RunConfiguration) -> [RunReport.Setting] {
        guard let bytes = try? RunJSON.encodeLine(configuration),
            let object = try? JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
        else { return [] }
        return flattened(object, path: "")
    }

    private static func flattened(_ object: [String: Any], path: String) -> [RunReport.Setting] {
        object.sorted { $0.key < $1.key }.flatMap { key, value -> [RunReport.Setting] in
            let name = path + key
            if value is NSNull { return [] }
            // A model stays whole: its layers mean nothing apart.
            if let inner = value as? [String: Any], key != "model", key != "source" {
                return flattened(inner, path: name + ".")
            }
            if let text = value as? String { return [.init(name, text)] }
            guard
                let json = try? JSONSerialization.data(
                    withJSONObject: value, options: [.sortedKeys, .fragmentsAllowed, .withoutEscapingSlashes])
            else { return [] }
            return [.init(name, String(decoding: json, as: UTF8.self))]
        }
    }
}
