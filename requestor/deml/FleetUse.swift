import Application
import ArgumentParser
import CommandLineSupport
import Dispatch
import Federation
import Fleets
import Foundation
import Inference
import Reports
import Synchronization
import Tensors

/// Where a finished model is used: in this process, or by the machines of a fleet.
struct FleetUseOptions: ParsableArguments {
    @Option(
        name: .customLong("on"),
        help: ArgumentHelp(
            "Who computes: local (processes here), simulated (threads here), golem (rented machines). (default: this process)",
            valueName: "fleet"))
    var fleet: MachineSettings.FleetName?
    @Option(
        help: ArgumentHelp("Machines at work at once. (default: 3 rented, or one a processor)", valueName: "n"))
    var machines: Int?
    @Option(help: ArgumentHelp("The program deml-worker, for local. (default: beside deml)", valueName: "path"))
    var worker: String?
    @Option(
        help: ArgumentHelp(
            "Rows of each answer that are recomputed here, drawn when it has come: auto (2 %), off, all, or a share. "
                + "(default: auto on golem, else off)", valueName: "which"))
    var audit: String?
    @Option(help: ArgumentHelp("Rows of a shard. (default: as suits the work)", valueName: "n"))
    var shardRows: Int?
    @Option(help: ArgumentHelp("How often a failed shard is given to another machine. (default: 3)", valueName: "n"))
    var retries: Int?
    @Option(
        help: ArgumentHelp("A machine that needs longer for a shard is left. (default: 3600)", valueName: "seconds"))
    var timeout: Double?
    @Option(
        help: ArgumentHelp(
            "Where what is done is kept until all is. (default: beside the output, or under runs/)",
            valueName: "folder"))
    var work: String?

    /// Nil: this process.
    func place(threads: Int?, golem: GolemOptions) throws -> FleetPlace? {
        guard let fleet else {
            let given = [
                machines.map { _ in "--machines" }, worker.map { _ in "--worker" }, audit.map { _ in "--audit" },
                shardRows.map { _ in "--shard-rows" }, retries.map { _ in "--retries" },
                timeout.map { _ in "--timeout" }, work.map { _ in "--work" },
            ].compactMap(\.self)
            if let first = given.first ?? golem.values.keys.sorted().first {
                throw DeMLError(
                    .usage, "\(first) belongs to --on, which says who computes", hint: "say --on local or --on golem")
            }
            return nil
        }
        if fleet != .golem, let key = golem.values.keys.sorted().first {
            throw DeMLError(
                .usage, "--\(key.replacing("_", with: "-")) belongs to --on golem, not to --on \(fleet.rawValue)")
        }
        let policy = try audit.map { text in
            guard let policy = AuditPolicy(text) else {
                throw DeMLError(.usage, "--audit is to be \(AuditPolicy.expectation), not \(text.quotedForMessage)")
            }
            return policy
        }
        var place = FleetPlace(
            fleet, machines: machines, threads: threads, worker: worker, golem: golem.values, audit: policy,
            folder: work)
        place.rowsPerShard = shardRows
        place.retries = retries
        place.timeout = timeout
        return place
    }
}

extension MachineSettings.FleetName: ExpressibleByArgument {}

/// Shows how far the machines are: a live line on a terminal, a line now and then elsewhere.
///
/// Everything is drawn on one queue, which may be held up as long as it likes, by Ctrl-S or by a pipe that nobody reads: the
/// work does not wait for it.
final class FleetUseDisplay: Sendable {
    private struct State {
        var region = LiveRegion()
        var progress: InferenceEvent.Progress?
        var renting: String?
        var tenth = 0
        var isClosed = false
    }

    private let queue = DispatchQueue(label: "deml.display")
    // Touched on the queue only; the lock says so to the compiler.
    private let state = Mutex(State())
    let output: Output
    private let terminal: Terminal
    private let paint: Paint
    private let isVerbose: Bool

    init(output: Output, isVerbose: Bool = false) {
        self.output = output
        self.isVerbose = isVerbose
        terminal = Terminal.current(of: output.descriptor)
        paint = Paint(terminal.hasColour)
    }

    func handle(_ event: InferenceEvent) {
        queue.async { [self] in
            state.withLock { state in draw(apply(event, &state), &state) }
        }
    }

    func say(_ line: String) {
        queue.async { [self] in
            state.withLock { state in draw([line], &state) }
        }
    }

    private func draw(_ said: [String], _ state: inout State) {
        guard !state.isClosed else { return }
        guard terminal.isInteractive else { return output.lines(said) }
        let lines = live(state).map { TextWidth.cut($0, to: terminal.columns - 1) }
        output.write(state.region.print(said.map { TextWidth.cut($0, to: terminal.columns) }, above: lines))
    }

    /// Waits for the terminal: machines are given back and paid by now.
    func close() {
        queue.sync {
            state.withLock { state in
                state.isClosed = true
                output.write(terminal.isInteractive ? state.region.clear() : "")
            }
        }
    }

    private func live(_ state: State) -> [String] {
        guard let progress = state.progress else { return state.renting.map { [paint("  " + $0, .dim)] } ?? [] }
        return [line(progress)] + (state.renting.map { [paint("  " + $0, .dim)] } ?? [])
    }

    private func line(_ progress: InferenceEvent.Progress) -> String {
        let share = Double(progress.rowsDone) / Double(max(1, progress.rows))
        var parts = [
            paint(ImageArt.bar(share, width: 24), .cyan)
                + "  \(Figures.grouped(progress.rowsDone)) of \(Figures.grouped(progress.rows)) rows"
        ]
        if progress.rowsPerSecond > 0 { parts.append("\(Figures.grouped(progress.rowsPerSecond)) rows/s") }
        parts.append(RunText.counted(progress.atWork, "machine"))
        if progress.bytesUp + progress.bytesDown > 0 {
            parts.append("↑ \(Figures.bytes(progress.bytesUp))  ↓ \(Figures.bytes(progress.bytesDown))")
        }
        if let cost = progress.costGLM, cost > 0 { parts.append(Figures.cost(cost)) }
        if let left = progress.secondsLeft, progress.rowsDone < progress.rows {
            parts.append("\(Figures.duration(left)) left")
        }
        return "  " + parts.joined(separator: "   ")
    }

    private func apply(_ event: InferenceEvent, _ state: inout State) -> [String] {
        switch event {
        case .planned(let plan):
            var text =
                "\(Figures.grouped(plan.rows)) rows in \(RunText.counted(plan.shards, "shard")) to "
                + "\(RunText.counted(plan.machines, "machine")) (\(plan.fleet)), "
                + "↑ \(Figures.bytes(plan.bytesUp))  ↓ \(Figures.bytes(plan.bytesDown)) at most"
            if plan.shardsDone > 0 { text += "; \(RunText.counted(plan.shardsDone, "shard")) done before" }
            return [paint(text, .dim)]
        case .given(let given):
            return isVerbose ? ["  shard \(given.client): \(TextWidth.harmless(given.provider.name))"] : []
        case .stage, .dropped: return []
        case .kept(let kept):
            guard isVerbose else { return [] }
            return [
                "  shard \(kept.shard): \(TextWidth.harmless(kept.provider.name)), \(Figures.grouped(kept.rows)) rows, "
                    + "\(Figures.duration(kept.seconds))"
            ]
        case .failed(let failure): return [paint("  ✗ ", .red) + TextWidth.harmless(failure.line)]
        case .straggler(let straggler):
            return [
                paint("  ! ", .yellow)
                    + TextWidth.harmless(
                        "shard \(straggler.client): \(straggler.provider?.name ?? "its machine") has taken "
                            + "\(Figures.duration(straggler.seconds)), others \(Figures.duration(straggler.median)); "
                            + "another gets it too")
            ]
        case .audited(let audit):
            switch audit.verdict {
            case .right: return []
            case .wrong: return [paint("  ✗ ", .red) + TextWidth.harmless(audit.line)]
            case .undecided: return [paint("  ! ", .yellow) + TextWidth.harmless(audit.line)]
            }
        case .notice(let notice) where notice.isRentingProgress:
            let isNew = state.renting == nil
            state.renting = notice.isRentingDone ? nil : "renting: " + TextWidth.harmless(notice.message)
            return terminal.isInteractive || !isNew ? [] : ["  renting: " + TextWidth.harmless(notice.message)]
        case .notice(let notice):
            let text = TextWidth.harmless(notice.message + (notice.provider.map { " (\($0.name))" } ?? ""))
            return [notice.level == .warning ? paint("  ! ", .yellow) + text : "  " + text]
        case .progress(let progress):
            state.progress = progress
            guard !terminal.isInteractive else { return [] }
            // A line for each tenth.
            let tenth = 10 * progress.rowsDone / max(1, progress.rows)
            guard tenth > state.tenth else { return [] }
            state.tenth = tenth
            return [line(progress)]
        }
    }

    // MARK: The end

    /// Shows who did how much, what was paid and what was looked at.
    func showEnding(_ result: InferenceResult) {
        let terminal = Terminal.current(of: output.descriptor)
        output.lines(Self.ending(result, paint: Paint(terminal.hasColour), width: terminal.columns))
    }

    /// Who did how much, what was paid and what was looked at.
    static func ending(_ result: InferenceResult, paint: Paint, width: Int) -> [String] {
        var lines: [String] = []
        if !result.providers.isEmpty {
            let showsFailures = result.providers.contains { $0.failures > 0 }
            var columns: [TextTable.Column] = [
                .init("machine", toRight: false), .init("shards"), .init("rows"), .init("time"), .init("rows/s"),
                .init("computing"),
            ]
            if showsFailures { columns.append(.init("failed")) }
            let rows = result.providers.prefix(12).map { work in
                [
                    TextWidth.harmless(work.provider.name), "\(work.shards)", Figures.grouped(work.rows),
                    Figures.duration(work.seconds),
                    work.seconds > 0 ? Figures.grouped(Double(work.rows) / work.seconds) : "–",
                    work.computingSeconds > 0 ? Figures.grouped(Double(work.rows) / work.computingSeconds) : "–",
                ] + (showsFailures ? ["\(work.failures)"] : [])
            }
            lines += TextTable(columns, rows: Array(rows)).lines(paint: paint, width: width)
        }
        if let expenses = result.expenses, !expenses.agreements.isEmpty {
            lines += [""] + RunText.agreements(expenses.agreements, paint: paint, width: width)
            lines.append("  paid \(Figures.cost(expenses.costGLM)) in all")
        }
        if let audits = result.audits {
            var text =
                "rows of \(audits.audited) of \(RunText.counted(audits.answers, "answer")) recomputed here in "
                + "\(Figures.duration(audits.homeSeconds)): "
            text +=
                audits.mismatches == 0
                ? "all right"
                : "\(audits.mismatches) mismatch\(audits.mismatches == 1 ? "" : "es"), done again by others"
            if audits.falseRefusals > 0 { text += ", \(RunText.counted(audits.falseRefusals, "false refusal"))" }
            lines += ["", "  " + text]
        }
        return lines
    }

    /// Runs what a fleet is asked; Ctrl-C ends it, and the same command goes on.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable (@escaping @Sendable (InferenceEvent) -> Void) async throws -> Value
    ) async throws -> Value {
        do {
            let value = try await Interrupts.cancellingOnSignals { [self] in
                say("stopping: machines are given back, what is done is kept; once more to leave at once")
            } _: { [self] in
                try await body { self.handle($0) }
            }
            close()
            return value
        } catch let error as InferenceInterrupted {
            close()
            output.line(error.description)
            throw ExitCode(Interrupts.exitCode)
        } catch {
            close()
            throw error
        }
    }
}

/// A summary for programs: the last line of `--json`.
struct FleetUseSummary: Encodable {
    var rows: Int
    var seconds: Double
    var workSeconds: Double
    var output: String?
    var right: Int?
    var costGLM: Double?
    var agreements: [AgreementExpense]?
    var audits: AuditTotals?
    var machines: [InferenceResult.ProviderWork]

    enum CodingKeys: String, CodingKey {
        case rows, seconds, output, right, agreements, audits, machines
        case costGLM = "cost_glm"
        case workSeconds = "work_seconds"
    }

    init(_ result: InferenceResult, rows: Int, output: String? = nil, right: Int? = nil) {
        self.rows = rows
        seconds = result.seconds
        workSeconds = result.workSeconds
        self.output = output
        self.right = right
        costGLM = result.expenses?.costGLM
        agreements = result.expenses?.agreements
        audits = result.audits
        machines = result.providers
    }
}
