import Application
import ArgumentParser
import CommandLineSupport
import Foundation
import Reports
import Tensors

struct PredictCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "predict",
        abstract: "Use a model: classes and their probabilities for new examples.",
        discussion: """
            The examples may have labels or not: a table, .npz, .npy, safetensors, one IDX file of images, a folder with a \
            test set, or a picture (PNG or PGM, brought to the model's size). Columns are found by the names that the model \
            was trained with. Without --data it is the test set of the run.

              deml predict --model runs/mnist-mlp --data mnist --count 10
              deml predict --model runs/mnist-mlp --data digit.png
              deml predict --model runs/mnist-mlp --data unknown.csv --output predictions.csv

            With --on the machines of a fleet do it, all examples unless --count says otherwise: the same bytes, checked by \
            computing a part of them here. What is done is kept beside the output until all is, so that the same command \
            goes on after it was stopped.

              deml predict --model runs/mnist-mlp --data unknown.csv --on golem --output predictions.csv
            """)

    @Option(
        help: ArgumentHelp(
            "A weights file, a run folder (its best model), .onnx, .pt2, .keras or .h5.", valueName: "file"))
    var model: String
    @OptionGroup
    var data: DataOptions
    @Option(help: ArgumentHelp("How many examples; 0: all. (default: 10; all with --output or --on)", valueName: "n"))
    var count: Int?
    @Option(help: ArgumentHelp("The first example, counted from 0.", valueName: "n"))
    var start = 0
    @Option(help: ArgumentHelp("How many of the most likely classes are shown.", valueName: "n"))
    var top = 3
    @Option(
        name: [.long, .customShort("o")],
        help: ArgumentHelp(
            "Write them all: .csv, .npz, .jsonl, else safetensors (.gz compressed).", valueName: "file"))
    var output: String?
    @Option(help: ArgumentHelp("csv, npz, safetensors or jsonl, whatever the output's name.", valueName: "name"))
    var format: PredictionFormat?
    @Option(
        help: ArgumentHelp(
            "What is written of each example: all (outputs), top (the --top most likely classes), classes (the most likely).",
            valueName: "what"))
    var contents = PredictionContents.all
    @Flag(help: "Do not draw the examples.")
    var noImages = false
    @Flag(help: "A picture has dark ink on light paper (default: found out from its border).")
    var invert = false
    @Option(
        help: ArgumentHelp(
            "Bring a drawn digit to the size and place that MNIST's have. (default: where the model knows digits)",
            valueName: "true|false"))
    var center: Bool?
    @Option(help: ArgumentHelp("Threads. (default: one a core)", valueName: "n"))
    var threads: Int?
    @Flag(help: "Print a line of JSON for each example; with --on one line in all.")
    var json = false
    @OptionGroup(title: "Other machines")
    var fleet: FleetUseOptions
    @OptionGroup(title: "Golem")
    var golem: GolemOptions

    func run() async throws {
        try await CommandErrors.reportedAsync {
            if let place = try fleet.place(threads: threads, golem: golem) {
                try await predict(on: place)
            } else {
                try predict()
            }
        }
    }

    private func request(count: Int) throws -> PredictRequest {
        guard output != "-" else {
            throw DeMLError(
                .usage, "predictions are written to a file, not to the standard output", place: "--output",
                hint: "name a file: predictions.csv, .jsonl, .npz or .safetensors")
        }
        var request = PredictRequest(
            model: model, data: data.request, part: data.split, count: count, start: start, output: output,
            invert: invert, threads: threads, centers: center)
        request.writing = PredictionWriting(format, contents: contents, top: top)
        return request
    }

    /// By the machines of a fleet.
    private func predict(on place: FleetPlace) async throws {
        let request = try request(count: count ?? 0)
        let display = FleetUseDisplay(output: json ? .standardError : .standard)
        let done = try await display.run {
            try await Application.ofThisProcess.predict(request, on: place, progress: $0)
        }
        guard !json else {
            return try Output.standard.json(
                FleetUseSummary(
                    done.result, rows: done.count, output: output, right: done.judged > 0 ? done.right : nil))
        }
        let terminal = Terminal.current()
        let paint = Paint(terminal.hasColour)
        display.showEnding(done.result)
        display.output.line("")
        if output == nil {
            let pictures = noImages ? nil : done.answer.pictures
            for (index, row) in done.answer.predictions.prefix(10).enumerated() {
                Output.standard.lines(
                    shown(
                        row, pixels: pictures.map { $0.frame(index) }, done.answer, paint: paint,
                        width: terminal.columns))
            }
        }
        if done.judged > 0 {
            Output.standard.line("\(Figures.grouped(done.right)) of \(Figures.grouped(done.judged)) right")
        }
        if let output { Output.standard.line("wrote \(Figures.grouped(done.count)) rows to \(output)") }
    }

    private func predict() throws {
        let answer = try Application.ofThisProcess.predict(try request(count: count ?? (output == nil ? 10 : 0)))
        let errors = Terminal.current(of: STDERR_FILENO)
        Output.standardError.lines(DecisionText.lines(answer.notes, paint: Paint(errors.hasColour)))
        let rows = answer.predictions
        if json {
            for row in rows { try Output.standard.json(row) }
            return
        }
        let terminal = Terminal.current()
        let paint = Paint(terminal.hasColour)
        if output == nil || count ?? 10 != 0 {
            let pictures = noImages ? nil : answer.pictures
            for (index, row) in rows.enumerated() {
                Output.standard.lines(
                    shown(row, pixels: pictures.map { $0.frame(index) }, answer, paint: paint, width: terminal.columns))
            }
        }
        let judged = rows.filter { $0.truth != nil && $0.predicted != nil }
        if !judged.isEmpty {
            let right = judged.count { $0.truth == $0.predicted }
            Output.standard.line("\(Figures.grouped(right)) of \(Figures.grouped(judged.count)) right")
        }
        if let output { Output.standard.line("wrote \(Figures.grouped(rows.count)) rows to \(output)") }
    }

    /// The example as a picture, beside it the classes.
    private func shown(
        _ row: Prediction, pixels: Pictures.Frame?, _ answer: PredictAnswer, paint: Paint, width: Int
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
            let names = order.map { TextWidth.of(answer.name(ofClass: $0)) }.max() ?? 1
            for label in order {
                text.append(
                    TextWidth.padded(answer.name(ofClass: label), to: names, right: true) + " "
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
}

extension PredictionFormat: ExpressibleByArgument {}
extension PredictionContents: ExpressibleByArgument {}
