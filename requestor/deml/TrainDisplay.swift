import Application
import CommandLineSupport
import Dispatch
import Federation
import Fleets
import Foundation
import Reports
import Synchronization

/// Shows a run as it goes on: live lines on a terminal, plain lines elsewhere.
///
/// Everything is drawn on one queue, which may be held up as long as it likes, by Ctrl-S or by a pipe that nobody reads:
/// nothing else waits for it. Events, the timer that draws the live lines anew and what is said besides only line up.
final class TrainDisplay: Sendable {
    private struct State {
        var rounds = 0
        var best: RunEvent.Best?
        var outlook = Outlook()
        var board: ProgressBoard?
        var roundStart = ContinuousClock.now
        var region = LiveRegion()
        var note: String?
        /// How far the renting is, while machines are missing.
        var renting: String?
        var machinesReady: String?
        var noteStart = ContinuousClock.now
        var isClosed = false
    }

    /// Where everything is drawn, events too.
    let queue = DispatchQueue(label: "deml.display")
    // Touched on the queue only; the lock says so to the compiler.
    private let state = Mutex(State())
    private let terminal: Terminal
    private let paint: Paint
    private let output: Output
    private let epochs: Int

    /// Whether each worker has a line of its own where the output is no terminal: it would bury the rounds.
    private let isVerbose: Bool

    init(terminal: Terminal, output: Output, epochs: Int, isVerbose: Bool = false) {
        self.isVerbose = isVerbose
        self.terminal = terminal
        self.output = output
        self.epochs = epochs
        paint = Paint(terminal.hasColour)
        if terminal.isInteractive { tickSoon() }
    }

    /// To be called on the queue.
    func handle(_ event: RunEvent) {
        state.withLock { state in
            let said = apply(event.kind, to: &state)
            guard terminal.isInteractive else { return output.lines(said) }
            if said.isEmpty {
                // Redrawn by the next tick, so that a burst of events costs one drawing.
                if case .roundStarted = event.kind { output.write(state.region.draw(region(state))) }
            } else {
                output.write(
                    state.region.print(said.map { TextWidth.cut($0, to: terminal.columns) }, above: region(state)))
            }
        }
    }

    /// Draws the live lines anew, ten times a second while the queue is not held up.
    private func tickSoon() {
        queue.asyncAfter(deadline: .now() + .milliseconds(100)) { [weak self] in
            guard let self else { return }
            let isClosed = state.withLock { state in
                let lines = region(state)
                if !state.isClosed, !lines.isEmpty { output.write(state.region.draw(lines)) }
                return state.isClosed
            }
            if !isClosed { tickSoon() }
        }
    }

    /// A line of our own above the live ones, as soon as the queue comes to it.
    func say(_ line: String) {
        queue.async { [self] in
            state.withLock { state in
                if terminal.isInteractive {
                    output.write(state.region.print([line], above: region(state)))
                } else {
                    output.line(line)
                }
            }
        }
    }

    /// Waits until the events of a run that has ended are drawn; gives up on a terminal that does not move.
    /// - Returns: whether they are.
    func end(_ drawing: RunObservation) async -> Bool {
        let isDrawn = await drawing.finished()
        if !isDrawn { drawing.stop() }
        return isDrawn
    }

    /// Takes the live lines away and writes the last ones. Waits for the terminal.
    func close(_ lines: [String]) {
        queue.sync {
            state.withLock { state in
                state.isClosed = true
                state.board = nil
                state.note = nil
                state.renting = nil
                output.write(state.region.clear())
            }
            output.lines(lines)
        }
    }

    private func region(_ state: State) -> [String] {
        // Asked each time: a window changes its size. One line is left for the cursor.
        let terminal = Terminal.current(of: output.descriptor)
        if var board = state.board {
            let elapsed = seconds(since: state.roundStart)
            let outlook = state.outlook.text(round: board.round, of: board.rounds, elapsed: elapsed)
            board.outlook = outlook.isEmpty ? nil : outlook
            // The machines that are still to come are told below those that work.
            let renting = state.renting.map { [TextWidth.cut(paint("  " + $0, .dim), to: terminal.columns - 1)] } ?? []
            return board.lines(
                seconds: elapsed, paint: paint, width: terminal.columns - 1,
                height: terminal.rows - 2 - renting.count) + renting
        }
        if let note = state.note ?? state.renting {
            return [
                TextWidth.cut(
                    note + paint("  \(Figures.duration(seconds(since: state.noteStart)))", .dim),
                    to: terminal.columns - 1)
            ]
        }
        return []
    }

    private func seconds(since start: ContinuousClock.Instant) -> Double {
        (ContinuousClock.now - start) / .seconds(1)
    }

    /// Changes the state; gives the lines to print for good.
    private func apply(_ kind: RunEvent.Kind, to state: inout State) -> [String] {
        switch kind {
        case .runStarted(let run):
            state.rounds = run.rounds
            return started(run)
        case .roundStarted(let round):
            state.board = ProgressBoard(
                round: round.round, rounds: round.rounds, clients: round.clients, epochs: epochs)
            state.roundStart = .now
            return []
        case .attemptStarted(let attempt):
            state.board?.update(client: attempt.client) {
                $0.worker = attempt.provider.name
                $0.stage = .sending
                $0.epoch = 0
                $0.loss = nil
                $0.samplesPerSecond = nil
            }
            return []
        case .attemptStage(let stage):
            state.board?.update(client: stage.client) { row in
                guard row.stage != .done else { return }
                switch stage.stage {
                case "train": row.stage = .training
                case "download", "verify": row.stage = .fetching
                default: row.stage = .sending
                }
            }
            if stage.stage == "average" || stage.stage == "evaluate" { state.board?.note = stage.stage }
            return []
        case .epochFinished(let epoch):
            state.board?.update(client: epoch.client) { row in
                guard row.stage != .done else { return }
                row.stage = .training
                row.epoch = epoch.progress.epoch
                row.epochs = epoch.progress.epochs
                row.loss = epoch.progress.loss
                row.samplesPerSecond = epoch.progress.samplesPerSecond
            }
            return []
        case .attemptSucceeded(let success):
            state.board?.update(client: success.client) {
                $0.worker = success.provider.name
                $0.stage = .done
                $0.loss = success.loss ?? $0.loss
                $0.samplesPerSecond = success.samplesPerSecond ?? $0.samplesPerSecond
            }
            if let board = state.board, board.finished == board.rows.count {
                state.board?.note = "averaging and testing"
            }
            guard !terminal.isInteractive, isVerbose else { return [] }
            return [plain(success, rounds: state.rounds)]
        case .attemptFailed(let failure):
            if failure.next != .elsewhere {
                state.board?.update(client: failure.client) { $0.stage = .failed(failure.message) }
            }
            var lines = [paint("  ✗ ", .red) + TextWidth.harmless(failure.line)]
            // What the worker said last, unless that is what the line says already.
            if let said = failure.standardErrorTail?.split(whereSeparator: \.isNewline).last,
                !said.contains(failure.message), !failure.message.contains(said)
            {
                lines.append(paint("    it said: \(TextWidth.harmless(String(said)))", .dim))
            }
            return lines
        case .stragglerFound(let straggler):
            let name = straggler.provider?.name ?? "its worker"
            return [
                paint("  ! ", .yellow)
                    + TextWidth.harmless(
                        "round \(straggler.round), shard \(straggler.client): \(name) has taken "
                            + "\(Figures.duration(straggler.seconds)), others \(Figures.duration(straggler.median)); "
                            + "another worker gets it too")
            ]
        case .audited(let audit):
            switch audit.verdict {
            case .right: return []
            case .wrong: return [paint("  ✗ ", .red) + TextWidth.harmless(audit.line)]
            case .undecided: return [paint("  ! ", .yellow) + TextWidth.harmless(audit.line)]
            }
        case .roundsRedone(let redone):
            state.board = nil
            return [paint("  ! ", .yellow) + redone.line]
        case .roundFinished(let metrics):
            state.board = nil
            guard metrics.round > 0 else { return [] }
            let isBest = state.best.map { metrics.merit.isBetter(than: $0.merit) } ?? false
            if isBest { state.best = RunEvent.Best(metrics) }
            tellBest(&state)
            state.outlook.finished(seconds: metrics.seconds)
            var line = RunText.round(
                RunReport.Round(metrics), of: state.rounds, best: isBest, paint: paint,
                width: terminal.isInteractive ? Terminal.current(of: output.descriptor).columns : .max)
            if !terminal.isInteractive, metrics.round < state.rounds {
                let outlook = state.outlook.text(round: metrics.round + 1, of: state.rounds, elapsed: 0)
                if !outlook.isEmpty { line += "   " + outlook }
            }
            return [line]
        case .bestModel(let best):
            state.best = best
            // That a model is the best before it has learned anything need not be said.
            if best.round > 0 { tellBest(&state) }
            return []
        case .comparisonStarted(let start):
            state.noteStart = .now
            let manner = start.reference == .onePlace ? "in one place" : "on one shard alone"
            state.note =
                "to compare: the same model \(manner), \(Figures.grouped(start.examples)) examples x \(start.passes) passes"
            return terminal.isInteractive ? [] : [state.note ?? ""]
        case .comparisonFinished:
            state.note = nil
            return []
        case .fleetNotice(let notice) where notice.isRentingProgress:
            return renting(notice, &state)
        case .fleetNotice(let notice):
            let who = notice.provider.map { " (\($0.name))" } ?? ""
            let text = TextWidth.harmless(notice.message + who)
            return [notice.level == .warning ? paint("  ! ", .yellow) + text : "  " + text]
        case .runFinished, .runInterrupted, .runFailed:
            state.board = nil
            state.note = nil
            state.renting = nil
            return []
        }
    }

    private func tellBest(_ state: inout State) {
        guard let best = state.best else { return }
        let value = best.accuracy.map { Figures.percent($0) } ?? "loss " + Figures.loss(best.loss)
        state.outlook.best =
            (best.chosenOn == .validation ? "validation " : "") + value + " in round \(best.round)"
    }

    /// A line that lives while machines are rented; where lines cannot live, one for each machine that comes.
    private func renting(_ notice: FleetNotice, _ state: inout State) -> [String] {
        let text = "renting: " + TextWidth.harmless(notice.message)
        if terminal.isInteractive {
            if state.renting == nil { state.noteStart = .now }
            state.renting = notice.isRentingDone ? nil : text
            return []
        }
        let ready = notice.details["ready"]
        guard ready != state.machinesReady else { return [] }
        state.machinesReady = ready
        return ["  " + text]
    }

    private func started(_ run: RunEvent.RunStarted) -> [String] {
        var first = "\(Figures.grouped(run.parameters)) parameters, \(Figures.grouped(run.trainExamples)) training"
        first += run.validationExamples.map { ", \(Figures.grouped($0)) validation and " } ?? " and "
        first +=
            "\(Figures.grouped(run.testExamples)) test examples, \(RunText.counted(run.workers, "worker")) (\(run.fleet))"
        if run.clientsPerRound < run.workers { first += ", \(run.clientsPerRound) a round" }
        var lines = (terminal.isInteractive ? TextWidth.wrapped(first, to: terminal.columns) : [first])
            .map { paint($0, .dim) }
        if run.finishedRounds > 0 {
            let accuracy = run.accuracy.map { ", accuracy \(Figures.percent($0))" } ?? ""
            lines.append(paint("going on after round \(run.finishedRounds)\(accuracy)", .dim))
        }
        return lines
    }

    private func plain(_ success: RunEvent.AttemptSucceeded, rounds: Int) -> String {
        let digits = String(rounds).count
        var text = "round \(TextWidth.padded("\(success.round)", to: digits, right: true))/\(rounds)   "
        text += "\(TextWidth.harmless(success.provider.name)), shard \(success.client)"
        text += "   epoch \(epochs)/\(epochs)"
        if let loss = success.loss { text += "   loss \(Figures.loss(loss))" }
        if let rate = success.samplesPerSecond { text += "   \(Figures.grouped(rate)) samples/s" }
        return text + "   \(Figures.duration(success.seconds))"
    }
}
