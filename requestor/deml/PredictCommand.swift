import ArgumentParser
import CommandLineSupport
import Datasets
import Foundation
import NeuralNetwork
import Reports
import Tensors

struct PredictCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "predict",
        abstract: "Use a model: classes and their probabilities for new examples.",
        discussion: """
            The examples may have labels or not: a dataset (its test set), one IDX file of images, .npz, safetensors, CSV, \
            or a picture (PNG or PGM, brought to the model's size).

              deml predict --model runs/mnist-mlp --data mnist --count 10
              deml predict --model runs/mnist-mlp --data digit.png
              deml predict --model runs/mnist-mlp --data unknown.csv --count 0 --output predictions.csv
            """)

    @Option(help: ArgumentHelp("A weights file, or a run folder (its best model).", valueName: "file"))
    var model: String
    @OptionGroup
    var data: DataOptions
    @Option(help: ArgumentHelp("How many examples; 0: all.", valueName: "n"))
    var count = 10
    @Option(help: ArgumentHelp("The first example, counted from 0.", valueName: "n"))
    var start = 0
    @Option(help: ArgumentHelp("How many of the most likely classes are shown.", valueName: "n"))
    var top = 3
    @Option(
        name: [.long, .customShort("o")],
        help: ArgumentHelp("Write all outputs: .csv, else safetensors (.gz compressed).", valueName: "file"))
    var output: String?
    @Flag(help: "Do not draw the examples.")
    var noImages = false
    @Flag(help: "A picture has dark ink on light paper (default: found out from its border).")
    var invert = false
    @Option(help: ArgumentHelp("Threads. (default: one a core)", valueName: "n"))
    var threads: Int?
    @Flag(help: "Print a line of JSON for each example.")
    var json = false

    func run() throws {
        try CommandErrors.reported { try predict() }
    }

    private struct Prediction: Encodable {
        var example: Int
        var predicted: String?
        var probability: Double?
        var truth: String?
        var outputs: [Double]
    }

    private func predict() throws {
        guard count >= 0, start >= 0, top >= 1 else {
            throw DeMLError(.usage, "--count and --start are to be 0 or more, --top 1 or more")
        }
        let model = try ModelArgument(model)
        let description = model.weights.model
        let inputs = try PredictionInputs(data, shape: description.inputShape, invert: invert)
        guard start < inputs.x.shape[0] else {
            throw DeMLError(
                .usage, "--start \(start) is beyond the \(inputs.x.shape[0]) examples", place: Paths.shown(inputs.path))
        }
        let end = count == 0 ? inputs.x.shape[0] : min(inputs.x.shape[0], start + count)
        let x = inputs.x.rows(start..<end)
        let predictions = try NeuralNetwork.predict(
            weights: model.weights, x: x, threads: try Threads.checked(threads))
        let outputs = try predictions.floats().map(Double.init)
        let width = outputs.count / (end - start)
        let isClassifier = description.loss == .crossEntropy

        let rows = (0..<(end - start)).map { index -> Prediction in
            let row = Array(outputs[index * width..<(index + 1) * width])
            let best = row.indices.max { (row[$0], -$0) < (row[$1], -$1) } ?? 0
            return Prediction(
                example: start + index, predicted: isClassifier ? inputs.name(ofClass: best) : nil,
                probability: isClassifier ? row[best] : nil,
                truth: inputs.labels.map { inputs.name(ofClass: $0[start + index]) }, outputs: row)
        }
        if let output { try write(rows, predictions, to: Paths.resolved(output, from: Paths.workingFolder), inputs) }
        if json {
            for row in rows { try Output.standard.json(row) }
            return
        }
        let terminal = Terminal.current()
        let paint = Paint(terminal.hasColour)
        if output == nil || count != 0 {
            let pixels = noImages ? nil : try picture(x, description)
            for (index, row) in rows.enumerated() {
                Output.standard.lines(
                    shown(row, pixels: pixels.map { $0.frame(index) }, inputs, paint: paint, width: terminal.columns))
            }
        }
        let judged = rows.filter { $0.truth != nil && $0.predicted != nil }
        if !judged.isEmpty {
            let right = judged.count { $0.truth == $0.predicted }
            Output.standard.line("\(Figures.grouped(right)) of \(Figures.grouped(judged.count)) right")
        }
        if let output { Output.standard.line("wrote \(output)") }
    }

    /// The example as a picture, beside it the classes.
    private func shown(
        _ row: Prediction, pixels: Pictures.Frame?, _ inputs: PredictionInputs, paint: Paint, width: Int
    ) -> [String] {
        var text: [String] = ["example \(row.example)"]
        if let predicted = row.predicted {
            let verdict: String
            if let truth = row.truth {
                verdict = truth == predicted ? paint("  right", .green) : paint("  wrong, it is \(truth)", .red)
            } else {
                verdict = ""
            }
            text[0] = paint(text[0], .dim) + "  " + paint(predicted, .bold) + verdict
            let order = row.outputs.indices.sorted { (row.outputs[$1], $0) < (row.outputs[$0], $1) }.prefix(top)
            let names = order.map { TextWidth.of(inputs.name(ofClass: $0)) }.max() ?? 1
            for label in order {
                text.append(
                    TextWidth.padded(inputs.name(ofClass: label), to: names, right: true) + " "
                        + paint(ImageArt.bar(row.outputs[label], width: 20), .cyan) + " "
                        + TextWidth.padded(Figures.percent(row.outputs[label], digits: 1), to: 7, right: true))
            }
        } else {
            text.append(row.outputs.prefix(16).map { Figures.short($0) }.joined(separator: "  "))
            if row.outputs.count > 16 { text[1] += "  …" }
        }
        guard let pixels, pixels.width + 40 <= width else { return text + [""] }
        var image = ImageArt.lines(pixels: pixels.values, height: pixels.height, width: pixels.width, paint: paint)
        if !paint.isOn {
            // Without colour the background is blank, and blank lines say nothing.
            image = Array(image.drop { $0.allSatisfy(\.isWhitespace) })
            while image.last?.allSatisfy(\.isWhitespace) == true { image.removeLast() }
        }
        let above = [String](repeating: "", count: max(0, (image.count - text.count) / 2))
        return ImageArt.beside([image, above + text], gap: 3) + [""]
    }

    /// Grey images of the examples, where the model takes such.
    private func picture(_ x: Tensor, _ description: NeuralNetwork.ModelDescription) throws -> Pictures? {
        let shape = description.inputShape
        guard shape.count == 3, shape[0] == 1 || shape[0] == 3, shape[1] <= 64, shape[2] <= 64 else { return nil }
        return Pictures(try x.floats(), count: x.shape[0], channels: shape[0], height: shape[1], width: shape[2])
    }

    private func write(
        _ rows: [Prediction], _ predictions: Tensor, to path: String, _ inputs: PredictionInputs
    ) throws(DeMLError) {
        guard path.hasSuffix(".csv") else {
            _ = try Safetensors(tensors: [("predictions", predictions)]).write(to: path)
            return
        }
        let width = rows.first?.outputs.count ?? 0
        let hasClasses = rows.contains { $0.predicted != nil }
        var header = ["example"]
        if hasClasses { header += ["predicted"] }
        header += (0..<width).map { hasClasses ? CSVText.field(inputs.name(ofClass: $0)) : "output\($0)" }
        var text = header.joined(separator: ",") + "\n"
        for row in rows {
            var fields = ["\(row.example)"]
            if let predicted = row.predicted { fields.append(CSVText.field(predicted)) }
            fields += row.outputs.map { "\(Float($0))" }
            text += fields.joined(separator: ",") + "\n"
        }
        try Files.writeAtomically(Array(text.utf8), to: path)
    }
}

/// A field of a CSV file as RFC 4180 writes it.
enum CSVText {
    static func field(_ text: String) -> String {
        guard text.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return text }
        return "\"" + text.replacing("\"", with: "\"\"") + "\""
    }
}

/// Examples as grey pictures between 0 and 1; colour is averaged.
struct Pictures {
    struct Frame {
        var values: [Float]
        var height: Int
        var width: Int
    }

    private let values: [Float]
    private let channels: Int
    private let height: Int
    private let width: Int
    private let lowest: Float
    private let highest: Float

    init(_ values: [Float], count: Int, channels: Int, height: Int, width: Int) {
        self.values = values
        self.channels = channels
        self.height = height
        self.width = width
        lowest = min(0, values.min() ?? 0)
        highest = max(values.max() ?? 1, lowest + 1e-6)
    }

    func frame(_ index: Int) -> Frame {
        let size = height * width
        let grey = (0..<size).map { pixel -> Float in
            let sum = (0..<channels).reduce(Float(0)) { $0 + values[(index * channels + $1) * size + pixel] }
            return (sum / Float(channels) - lowest) / (highest - lowest)
        }
        return Frame(values: grey, height: height, width: width)
    }
}
