import Application
import ArgumentParser
import CommandLineSupport
import Foundation
import Reports

struct EvaluateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Test a model: accuracy, loss, and which classes it takes for each other.",
        discussion: """
            A run is measured on the test set that it never trained on, whatever its data is called now.

              deml evaluate --model runs/mnist-mlp
              deml evaluate --model runs/mnist-mlp/best.safetensors --data mnist

            With --on the machines of a fleet compute the model's outputs; the labels stay here, and here is measured: the \
            same figures, bit by bit.
            """)

    @Option(
        help: ArgumentHelp(
            "A weights file, a run folder (its best model), .onnx, .pt2, .keras or .h5.", valueName: "file"))
    var model: String
    @OptionGroup
    var data: DataOptions
    @Option(help: ArgumentHelp("Threads. (default: one a core)", valueName: "n"))
    var threads: Int?
    @Flag(help: "Print one line of JSON.")
    var json = false
    @OptionGroup(title: "Other machines")
    var fleet: FleetUseOptions
    @OptionGroup(title: "Golem")
    var golem: GolemOptions

    func run() async throws {
        try await CommandErrors.reportedAsync { try await evaluate() }
    }

    private func evaluate() async throws {
        let request = EvaluateRequest(model: model, data: data.request, part: data.split, threads: threads)
        guard let place = try fleet.place(threads: threads, golem: golem) else {
            let answer = try Application.ofThisProcess.evaluate(request)
            let errors = Terminal.current(of: STDERR_FILENO)
            Output.standardError.lines(DecisionText.lines(answer.notes, paint: Paint(errors.hasColour)))
            return try show(answer)
        }
        let display = FleetUseDisplay(output: json ? .standardError : .standard)
        let (answer, result) = try await display.run {
            try await Application.ofThisProcess.evaluate(request, on: place, progress: $0)
        }
        display.showEnding(result)
        display.output.line("")
        try show(answer)
    }

    private func show(_ answer: EvaluateAnswer) throws {
        let evaluation = answer.evaluation
        if json { return try Output.standard.json(evaluation) }

        let terminal = Terminal.current()
        let paint = Paint(terminal.hasColour)
        var lines: [String] = []
        if let accuracy = evaluation.accuracy { lines.append("  accuracy  " + paint(Figures.percent(accuracy), .bold)) }
        lines += [
            "  loss      \(Figures.loss(evaluation.loss))",
            "  examples  \(Figures.grouped(evaluation.count)) of \(answer.dataset) (\(answer.part.rawValue)), "
                + "\(Figures.duration(answer.seconds))",
        ]
        let classes = answer.classes
        if !classes.isEmpty, classes.count <= 20 {
            lines +=
                [""] + RunText.confusion(evaluation.confusion, classes: classes, paint: paint, width: terminal.columns)
        }
        if let metrics = evaluation.metrics {
            let measures = Measures(metrics, classes: classes)
            lines += [""] + RunText.measures(measures, paint: paint, width: terminal.columns)
            if !measures.classes.isEmpty {
                lines += [""] + RunText.classes(measures, paint: paint, width: terminal.columns)
            }
        }
        Output.standard.lines(lines)
    }
}
