import Application
import ArgumentParser
import CommandLineSupport
import Federation
import Foundation
import Reports

struct TrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Train a model on many machines, round after round, and compare it with one place.",
        discussion: """
            Settings come from the YAML file; options override it. Keys of the file are the options with _ for -: \
            learning_rate, local_epochs. Paths in the file are seen from the file's folder.

              deml train examples/mnist-mlp.yaml
              deml train --data wine.csv
              deml train examples/mnist-mlp.yaml --workers 5 --partition dirichlet:0.3
              deml train --resume runs/mnist-mlp --rounds 10
            """)

    @Argument(help: ArgumentHelp("A YAML file with settings, as in examples/.", valueName: "file"))
    var file: String?

    @Option(help: ArgumentHelp("Go on with a run that was stopped, or has too few rounds.", valueName: "run"))
    var resume: String?

    @Flag(help: "Print summary.json as the last line of stdout; everything else goes to stderr.")
    var json = false

    @Flag(help: "A line for each worker of a round, where the output is no terminal.")
    var verbose = false

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
    @OptionGroup(title: "Checking")
    var verification: VerificationOptions
    @OptionGroup(title: "Machines")
    var machines: MachineOptions
    @OptionGroup(title: "Golem")
    var golem: GolemOptions
    @OptionGroup(title: "Results")
    var results: ResultOptions

    private var request: TrainRequest {
        let groups: [any SettingOptions] = [
            learning, table, roundOptions, localTraining, averaging, verification, machines, results,
        ]
        return TrainRequest(
            file: file, resume: resume,
            settings: groups.flatMap(\.given).compactMap { key, text in text.map { (key, $0) } }, golem: golem.values,
            worker: machines.worker)
    }

    func run() async throws {
        try await CommandErrors.reportedAsync { try await train() }
    }

    private func train() async throws {
        let application = Application.ofThisProcess
        if let repetition = try application.repetition(request) {
            return try await train(repetition, application)
        }
        let summary = try await train(try application.start(request), application)
        if json { try Output.standard.json(summary) }
    }

    /// One run after the other, then what they have in common.
    private func train(_ repetition: Repetition, _ application: Application) async throws {
        let output = json ? Output.standardError : Output.standard
        var summaries: [Summary] = []
        for index in repetition.seeds.indices {
            switch try repetition.start(index) {
            case .finished(let summary):
                output.line("\(repetition.name(index)) is done already")
                summaries.append(summary)
            case .running(let handle):
                let shown = application.paths.shown(repetition.folder)
                summaries.append(try await train(handle, application, resumedAs: shown))
            }
            _ = try repetition.finish(summaries)
        }
        let whole = try repetition.finish(summaries)
        let terminal = Terminal.current(of: output.descriptor)
        let paint = Paint(terminal.hasColour)
        output.lines(
            [""] + RunText.trials(Repetition.table(whole), paint: paint, width: terminal.columns)
                + ["", "  report \(application.paths.shown(repetition.report))"])
        if json { try Output.standard.json(whole) }
    }

    /// - Parameter resumed: what is gone on with after it was stopped, where that is not the run's own folder.
    private func train(
        _ handle: RunHandle, _ application: Application, resumedAs resumed: String? = nil
    ) async throws -> Summary {
        let folder = handle.folder
        let output = json ? Output.standardError : Output.standard
        let terminal = Terminal.current(of: output.descriptor)
        let training = handle.configuration.training
        // Where steps are counted, a worker's first line tells of how many epochs they are a part.
        let display = TrainDisplay(
            terminal: terminal, output: output, epochs: training.localSteps == nil ? training.localEpochs : 1,
            isVerbose: verbose)
        let title = Paint(terminal.hasColour)((folder.path as NSString).lastPathComponent, .bold)
        display.say("\(title)  \(application.paths.shown(folder.path))")
        for line in DecisionText.lines(handle.decisions, paint: Paint(terminal.hasColour)) { display.say(line) }
        if let model = handle.chosenModel {
            display.say("no model was given; this one was chosen (deml init writes it into a file):")
            for line in model.split(separator: "\n") { display.say("  " + line) }
        }
        let drawing = handle.feed.observe(on: display.queue) { display.handle($0) }
        do {
            let summary = try await Interrupts.cancellingOnSignals {
                display.say("stopping: workers end, finished rounds are kept; once more to leave at once")
            } _: {
                try await handle.summary()
            }
            // A terminal that was stopped holds up its last lines, but not the summary for those who wait for it.
            let isDrawn = await display.end(drawing)
            if isDrawn || !json {
                var lines = try Self.ending(
                    folder, summary, workers: handle.configuration.federation.workers, terminal: terminal,
                    paths: application.paths)
                lines += handle.warnings.map { "  ! " + TextWidth.harmless($0) }
                display.close(lines)
            }
            return summary
        } catch  where error is RunInterrupted || error is CancellationError {
            _ = await display.end(drawing)
            let finished = (error as? RunInterrupted)?.finishedRounds ?? 0
            display.close([
                "stopped with \(RunText.counted(finished, "finished round")); "
                    + "go on with: deml train --resume \(resumed ?? application.paths.shown(folder.path))"
            ])
            throw ExitCode(Interrupts.exitCode)
        } catch {
            _ = await display.end(drawing)
            display.close([])
            throw error
        }
    }

    /// Curve, comparison, workers, and where everything lies.
    static func ending(
        _ folder: RunFolder, _ summary: Summary, workers: Int, terminal: Terminal, paths: Paths
    ) throws -> [String] {
        let paint = Paint(terminal.hasColour)
        let width = terminal.columns
        let metrics = try folder.readMetrics()
        let places = RunReporting.places(summary, workers: workers)
        var lines = [""]
        let accuracies = metrics.compactMap { round in
            round.accuracy.map { LearningCurve.Point(round: round.round, value: $0) }
        }
        let reference = places.dropFirst().first
        if accuracies.count > 1 {
            lines += LearningCurve(
                title: "Test accuracy", points: accuracies.filter { $0.round > 0 },
                level: reference.map { ($0.name, $0.accuracy) }
            ).lines(paint: paint, width: width)
        } else if accuracies.isEmpty, metrics.count > 1 {
            lines += LearningCurve(
                title: "Test loss", points: metrics.map { .init(round: $0.round, value: $0.loss) },
                level: reference.map { ($0.name, $0.loss) }, floor: 0, ceiling: .infinity,
                written: { Figures.short($0) }
            ).lines(paint: paint, width: width)
        }
        lines += [""] + RunText.comparison(places, paint: paint, width: width)
        if let metrics = summary.metrics {
            lines += [""] + RunText.measures(Measures(metrics), paint: paint, width: width)
        }
        lines += [""] + RunText.workers(summary.workers.map(RunReport.Worker.init), paint: paint, width: width)
        if !summary.agreements.isEmpty {
            lines += [""] + RunText.agreements(summary.agreements, paint: paint, width: width)
        }
        if let audits = summary.audits {
            lines += [""] + RunText.audits(audits, rounds: summary.rounds, paint: paint, width: width)
        }
        lines.append("")
        switch summary.endedBy {
        case .patience:
            lines.append("  ended  after round \(summary.rounds): none was better than round \(summary.bestRound)")
        case .targetAccuracy: lines.append("  ended  after round \(summary.rounds): the target accuracy is reached")
        case .rounds, nil: break
        }
        if summary.bestRound != summary.rounds {
            let figure =
                summary.bestAccuracy.map { "accuracy \(Figures.percent($0))" }
                ?? "loss \(Figures.loss(summary.bestLoss))"
            let set = summary.chosenOn == .validation ? "validation" : "test"
            lines.append(
                "  best   round \(summary.bestRound) by the \(set) set, test \(figure): \(paths.shown(folder.best))")
        }
        lines += [
            "  model  \(paths.shown(folder.model))",
            "  report \(paths.shown(folder.report))",
        ]
        return lines
    }
}
