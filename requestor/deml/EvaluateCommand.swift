import Application
import ArgumentParser
import CommandLineSupport
import Foundation
import Reports

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Test a model: accuracy, loss, and which classes it takes for each other.",
        discussion: """
            A run is measured on the test set that it never trained on, whatever its data is called now.

              deml evaluate --model runs/mnist-mlp
              deml evaluate --model runs/mnist-mlp/best.safetensors --data mnist
            """)

    @Option(help: ArgumentHelp("A weights file, or a run folder (its best model).", valueName: "file"))
    var model: String
    @OptionGroup
    var data: DataOptions
    @Option(help: ArgumentHelp("Threads. (default: one a core)", valueName: "n"))
    var threads: Int?
    @Flag(help: "Print one line of JSON.")
    var json = false

    func run() throws {
        try CommandErrors.reported { try evaluate() }
    }

    private func evaluate() throws {
        let answer = try Application.ofThisProcess.evaluate(
            EvaluateRequest(model: model, data: data.request, part: data.split, threads: threads))
        let evaluation = answer.evaluation
        let errors = Terminal.current(of: STDERR_FILENO)
        Output.standardError.lines(DecisionText.lines(answer.notes, paint: Paint(errors.hasColour)))
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
