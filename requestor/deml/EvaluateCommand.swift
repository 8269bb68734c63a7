import ArgumentParser
import CommandLineSupport
import Datasets
import Foundation
import NeuralNetwork
import Reports
import Tensors

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Test a model: accuracy, loss, and which classes it takes for each other.",
        discussion: "  deml evaluate --model runs/mnist-mlp/best.safetensors --data mnist")

    @Option(help: ArgumentHelp("A weights file, or a run folder (its best model).", valueName: "file"))
    var model: String
    @OptionGroup
    var data: DataOptions
    @Option(help: "The part of the data: test or train.")
    var split = Split.test
    @Option(help: ArgumentHelp("Threads. (default: one a core)", valueName: "n"))
    var threads: Int?
    @Flag(help: "Print one line of JSON.")
    var json = false

    func run() throws {
        try CommandErrors.reported { try evaluate() }
    }

    private func evaluate() throws {
        let model = try ModelArgument(model)
        let description = model.weights.model
        let dataset: Dataset
        let examples: Examples
        do throws(DeMLError) {
            dataset = try data.dataset().fitted(to: description.inputShape)
            let part = try split.part(of: dataset)
            examples = try Examples(x: part.x, y: part.y, for: description)
        } catch {
            let path = Paths.shown(try data.path)
            throw error.place?.contains(path) == true ? error : error.within(path)
        }
        let start = ContinuousClock.now
        let evaluation = try NeuralNetwork.evaluate(
            weights: model.weights, examples: examples, threads: try Threads.checked(threads))
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        if json { return try Output.standard.json(evaluation) }

        let terminal = Terminal.current()
        let paint = Paint(terminal.hasColour)
        var lines: [String] = []
        if let accuracy = evaluation.accuracy { lines.append("  accuracy  " + paint(Figures.percent(accuracy), .bold)) }
        lines += [
            "  loss      \(Figures.loss(evaluation.loss))",
            "  examples  \(Figures.grouped(evaluation.count)) of \(dataset.name) (\(split.rawValue)), "
                + "\(Figures.duration(seconds))",
        ]
        let names = dataset.classNames ?? []
        let classes = evaluation.confusion.indices.map { names.indices.contains($0) ? names[$0] : "\($0)" }
        if !classes.isEmpty, classes.count <= 20 {
            lines +=
                [""] + RunText.confusion(evaluation.confusion, classes: classes, paint: paint, width: terminal.columns)
        }
        Output.standard.lines(lines)
    }
}

/// Number of threads of a command.
enum Threads {
    static func checked(_ threads: Int?) throws(DeMLError) -> Int {
        guard let threads else { return ProcessInfo.processInfo.activeProcessorCount }
        guard threads >= 1, threads <= 1024 else {
            throw DeMLError(.usage, "--threads is to be from 1 to 1024, not \(threads)")
        }
        return threads
    }
}
