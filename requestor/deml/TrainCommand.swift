import ArgumentParser
import CommandLineSupport
import Datasets
import Federation
import Foundation
import Reports
import Tensors

struct TrainCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Train a model on many machines, round after round, and compare it with one place.",
        discussion: """
            Settings come from the YAML file; options override it. Keys of the file are the options with _ for -: \
            learning_rate, local_epochs. Paths in the file are seen from the file's folder.

              deml train examples/mnist-mlp.yaml
              deml train examples/mnist-mlp.yaml --workers 5 --partition dirichlet:0.3
              deml train --resume runs/mnist-mlp --rounds 10
            """)

    @Argument(help: ArgumentHelp("A YAML file with settings, as in examples/.", valueName: "file"))
    var file: String?

    @Option(help: ArgumentHelp("Go on with a run that was stopped, or has too few rounds.", valueName: "run"))
    var resume: String?

    @Flag(help: "Print summary.json as the last line of stdout; everything else goes to stderr.")
    var json = false

    @OptionGroup(title: "What is learned")
    var learning: LearningOptions
    @OptionGroup(title: "Rounds")
    var roundOptions: RoundOptions
    @OptionGroup(title: "Training at a worker")
    var localTraining: LocalTrainingOptions
    @OptionGroup(title: "Averaging")
    var averaging: AveragingOptions
    @OptionGroup(title: "Machines")
    var machines: MachineOptions
    @OptionGroup(title: "Golem")
    var golem: GolemOptions
    @OptionGroup(title: "Results")
    var results: ResultOptions

    private var given: [(key: String, text: String?)] {
        let groups: [any SettingOptions] = [learning, roundOptions, localTraining, averaging, machines, results]
        return groups.flatMap(\.given)
    }

    func run() async throws {
        try await CommandErrors.reportedAsync { try await train() }
    }

    private func train() async throws {
        if resume != nil, let file {
            throw DeMLError(
                .usage, "--resume takes its settings from the run, not from \(file)",
                hint: "leave out the file; options may still change what does not change the result")
        }
        let resumed = resume.map { RunFolder(path: Paths.resolved($0, from: Paths.workingFolder)) }
        if let resumed, !Files.exists(resumed.config) {
            throw DeMLError(
                .notFound, "there is no run in this folder: config.json is missing", place: Paths.shown(resumed.path))
        }
        let settings = try TrainSettings(file: file, resumed: resumed?.config, given: given, golem: golem.values)
        var configuration = settings.configuration
        let folder =
            resumed ?? RunFolder(path: configuration.output.folder ?? TrainSettings.freshFolder(name: settings.name))
        if resumed == nil, Files.exists(folder.config) {
            throw DeMLError(
                .cannotCreate, "there is a run in this folder already", place: Paths.shown(folder.path),
                hint: "go on with it by --resume \(Paths.shown(folder.path)), or choose another --output")
        }
        configuration.output.folder = folder.path

        let dataset = try Dataset(
            path: configuration.data.path,
            options: DatasetOptions(
                testFraction: configuration.data.testFraction, labelColumn: configuration.data.labelColumn))
        let plan: RunPlan
        do {
            plan = try RunPlan(configuration: configuration, dataset: dataset, folder: folder)
        } catch let error as DeMLError where error.exitCode == 65 {
            throw error.within(Paths.shown(configuration.data.path))
        }
        let fleet = try FleetChoice.make(plan, machines: machines)
        let output = json ? Output.standardError : Output.standard
        let terminal = Terminal.current(of: output.descriptor)
        let display = TrainDisplay(terminal: terminal, output: output, epochs: configuration.training.localEpochs)
        let title = Paint(terminal.hasColour)((folder.path as NSString).lastPathComponent, .bold)
        output.line("\(title)  \(Paths.shown(folder.path))")

        let report = LiveReport(folder)
        let run = Run(
            plan, fleet: fleet, resume: resumed != nil,
            onEvent: { event in
                display.handle(event)
                report.handle(event)
            })
        let summary: Summary
        do {
            summary = try await Interrupts.cancellingOnSignals {
                display.say("stopping: workers end, finished rounds are kept; once more to leave at once")
            } _: {
                try await withTicks(of: display) { try await run.run() }
            }
        } catch {
            display.clear()
            try? RunReporting.write(folder)
            if error is RunInterrupted || error is CancellationError {
                let finished = (error as? RunInterrupted)?.finishedRounds ?? 0
                output.line(
                    "stopped with \(RunText.counted(finished, "finished round")); "
                        + "go on with: deml train --resume \(Paths.shown(folder.path))")
                throw ExitCode(Interrupts.exitCode)
            }
            throw error
        }
        display.clear()
        try RunReporting.write(folder)
        output.lines(try Self.ending(folder, summary, workers: configuration.federation.workers, terminal: terminal))
        if json { try Output.standard.json(summary) }
    }

    /// Draws ten times a second while `body` runs.
    private func withTicks<Result: Sendable>(
        of display: TrainDisplay, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                while !Task.isCancelled {
                    display.tick()
                    try? await Task.sleep(for: .milliseconds(100))
                }
                return nil
            }
            while let next = try await group.next() {
                if let result = next {
                    group.cancelAll()
                    return result
                }
            }
            throw CancellationError()
        }
    }

    /// Curve, comparison, workers, and where everything lies.
    static func ending(
        _ folder: RunFolder, _ summary: Summary, workers: Int, terminal: Terminal
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
        lines += [""] + RunText.workers(summary.workers.map(RunReport.Worker.init), paint: paint, width: width)
        if !summary.agreements.isEmpty {
            lines += [""] + RunText.agreements(summary.agreements, paint: paint, width: width)
        }
        lines.append("")
        if let accuracy = summary.bestAccuracy, summary.bestRound != summary.rounds {
            lines.append(
                "  best   round \(summary.bestRound), \(Figures.percent(accuracy)): \(Paths.shown(folder.best))")
        }
        lines += [
            "  model  \(Paths.shown(folder.model))",
            "  report \(Paths.shown(folder.report))",
        ]
        return lines
    }
}
