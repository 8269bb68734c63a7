import Application
import ArgumentParser
import CommandLineSupport
import Federation
import Foundation
import Reports
import Tensors

struct SweepCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sweep",
        abstract: "Find good values of one or two settings, in the simulated fleet.",
        discussion: """
            Trains with every value for a few rounds, with the better ones for more, with the best to the end (successive \
            halving). Chosen is on a validation set, a tenth of the training examples unless the settings say otherwise; the \
            test set stays unseen.

              deml sweep examples/mnist-2nn.yaml --over learning_rate=0.01..1:9 --rounds 9
              deml sweep examples/mnist-mlp.yaml --over learning_rate=0.0003,0.001,0.003 --over batch_size=16,64
            """)

    @Argument(help: ArgumentHelp("A YAML file with settings, as in examples/.", valueName: "file"))
    var file: String?
    @Option(
        help: ArgumentHelp(
            "A setting and its values: learning_rate=0.01,0.1 or learning_rate=0.001..1:7. Once or twice.",
            valueName: "values"))
    var over: [String] = []
    @Option(help: ArgumentHelp("One trial in so many goes on to more rounds.", valueName: "n"))
    var factor = 3
    @Option(help: ArgumentHelp("Go on with a sweep that was stopped.", valueName: "folder"))
    var resume: String?
    @Flag(help: "Print sweep.json at the end, progress on stderr.")
    var json = false
    @OptionGroup(title: "What is learned")
    var learning: LearningOptions
    @OptionGroup(title: "How a table is read")
    var table: TableOptions
    @OptionGroup(title: "Rounds")
    var roundOptions: RoundOptions
    @OptionGroup(title: "Training at a worker")
    var localTraining: LocalTrainingOptions
    @OptionGroup(title: "Averaging")
    var averaging: AveragingOptions
    @Option(
        name: [.long, .customShort("o")],
        help: ArgumentHelp("Folder of the sweep. (default: a new one under runs/)", valueName: "folder"))
    var output: String?

    func run() async throws {
        try await CommandErrors.reportedAsync { try await sweep() }
    }

    private func sweep() async throws {
        let application = Application.ofThisProcess
        let groups: [any SettingOptions] = [learning, table, roundOptions, localTraining, averaging]
        var settings = groups.flatMap(\.given).compactMap { key, text in text.map { (key: key, text: $0) } }
        if let output { settings.append((key: "output", text: output)) }
        var axes: [SweepAxis] = []
        for text in over { axes.append(try SweepAxis(parsing: text)) }
        let sweep = try application.sweep(
            SweepRequest(
                train: TrainRequest(file: file, resume: resume, settings: settings), axes: axes, factor: factor))
        let stream = json ? Output.standardError : Output.standard
        let terminal = Terminal.current(of: stream.descriptor)
        let paint = Paint(terminal.hasColour)
        let shown = application.paths.shown(sweep.folder)
        stream.line("\(paint((sweep.folder as NSString).lastPathComponent, .bold))  \(shown)")
        let (sweepAxes, rungs) = (sweep.axes, sweep.rungs.count)
        do {
            let summary = try await Interrupts.cancellingOnSignals {
                stream.line("stopping: what is trained is kept; once more to leave at once")
            } _: {
                try await sweep.run { progress in
                    stream.line(Self.line(progress, axes: sweepAxes, rungs: rungs, paint: paint))
                }
            }
            stream.lines(Self.ending(summary, sweep, paint: paint, width: terminal.columns, application.paths))
            if json { try Output.standard.json(summary) }
        } catch  where error is RunInterrupted || error is CancellationError {
            stream.line("stopped; go on with: deml sweep --resume \(shown)")
            throw ExitCode(Interrupts.exitCode)
        }
    }

    private static func line(
        _ progress: Sweep.Progress, axes: [SweepAxis], rungs: Int, paint: Paint
    ) -> String {
        switch progress {
        case .rung(let number, let rung):
            return paint("rung \(number + 1)/\(rungs)", .bold)
                + "   \(RunText.counted(rung.trials, "trial")) up to round \(rung.rounds)"
        case .trial(let trial):
            let label = "  \(trial.name)  " + TextWidth.harmless(Sweep.label(axes, trial.values))
            if let failure = trial.failure {
                return label + paint("   failed: ", .yellow) + TextWidth.harmless(failure)
            }
            let accuracy = trial.accuracy.map { "   validation \(Figures.percent($0))" } ?? ""
            return label + accuracy + (trial.loss.map { "   loss \(Figures.loss($0))" } ?? "")
        }
    }

    private static func ending(
        _ summary: SweepSummary, _ sweep: Sweep, paint: Paint, width: Int, _ paths: Paths
    ) -> [String] {
        var lines = [""] + RunText.trials(Sweep.table(summary), paint: paint, width: width)
        lines += ["", "  " + Sweep.work(summary)]
        if let best = summary.trials.first(where: { $0.name == summary.best }) {
            let options = zip(sweep.axes, best.values).map { axis, value in
                "--\(axis.key.replacingOccurrences(of: "_", with: "-")) \(Self.quoted(value))"
            }
            lines.append("  best    " + options.joined(separator: " "))
            lines.append("  model   \(paths.shown(sweep.model(of: best.name)))")
        }
        return lines + ["  report  \(paths.shown(sweep.report))"]
    }

    /// As a shell takes it.
    private static func quoted(_ text: String) -> String {
        let isPlain = text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "._-:".contains($0)) }
        return isPlain ? text : "'" + text.replacingOccurrences(of: "'", with: "'\\''") + "'"
    }
}
