import Datasets
import NeuralNetwork
import Tensors

/// The use of a model on new examples.
public struct PredictRequest: Sendable {
    /// A weights file, or a run folder (its best model).
    public var model: String
    /// With labels or without: a dataset (its test set), one IDX file of images, .npz, safetensors, CSV, or a picture.
    public var data: DataRequest
    /// Nil: the test set, where there is one; else all.
    public var part: DatasetPart?
    /// How many examples; 0: all.
    public var count: Int
    /// The first example, counted from 0.
    public var start: Int
    /// Where all outputs are written: .csv, else safetensors (.gz compressed).
    public var output: String?
    /// A picture has dark ink on light paper.
    public var invert: Bool
    public var threads: Int?

    public init(
        model: String, data: DataRequest = DataRequest(), part: DatasetPart? = nil, count: Int = 10, start: Int = 0,
        output: String? = nil, invert: Bool = false, threads: Int? = nil
    ) {
        self.model = model
        self.data = data
        self.part = part
        self.count = count
        self.start = start
        self.output = output
        self.invert = invert
        self.threads = threads
    }
}

/// What a model says of one example.
public struct Prediction: Sendable, Encodable {
    /// The row of the file, counted from 0.
    public var example: Int
    /// Name of the most likely class and its probability; absent for a regression.
    public var predicted: String?
    public var probability: Double?
    /// The label, where the example has one.
    public var truth: String?
    public var outputs: [Double]
}

public struct PredictAnswer: Sendable {
    public var predictions: [Prediction]
    /// Grey images of the examples, where the model takes such.
    public var pictures: Pictures?
    /// What a person is to know of how the data was taken.
    public var notes: [Decision]
    /// Examples there are.
    public var available: Int
    let classNames: [String]?

    public func name(ofClass index: Int) -> String {
        classNames.flatMap { $0.indices.contains(index) ? $0[index] : nil } ?? "\(index)"
    }
}

extension Application {
    /// Classes and their probabilities for new examples, or numbers.
    public func predict(_ request: PredictRequest) throws -> PredictAnswer {
        guard request.count >= 0, request.start >= 0 else {
            throw DeMLError(.usage, "--count and --start are to be 0 or more, --top 1 or more")
        }
        let model = try ModelArgument(request.model, paths)
        let description = model.weights.model
        let inputs = try PredictionInputs(request, model, paths)
        let (start, available) = (request.start, inputs.x.shape[0])
        guard start < available else {
            throw DeMLError(
                .usage, "--start \(start) is beyond the \(available) examples", place: paths.shown(inputs.path))
        }
        let end = request.count == 0 ? available : start + min(available - start, request.count)
        let x = inputs.x.rows(start..<end)
        let predictions = try NeuralNetwork.predict(
            weights: model.weights, x: x, threads: try Threads.checked(request.threads))
        let outputs = try predictions.floats().map(Double.init)
        let width = outputs.count / (end - start)
        let isClassifier = description.loss == .crossEntropy
        var answer = PredictAnswer(
            predictions: [], notes: inputs.notes, available: available, classNames: model.schema.classNames)
        answer.predictions = (0..<(end - start)).map { index in
            let row = Array(outputs[index * width..<(index + 1) * width])
            let best = row.indices.max { (row[$0], -$0) < (row[$1], -$1) } ?? 0
            return Prediction(
                example: inputs.rows[start + index], predicted: isClassifier ? answer.name(ofClass: best) : nil,
                probability: isClassifier ? row[best] : nil,
                truth: inputs.truth(start + index, answer), outputs: row)
        }
        answer.pictures = try Pictures(x, shape: description.inputShape)
        if let output = request.output { try write(answer, predictions, model.schema, to: paths.resolved(output)) }
        return answer
    }

    /// Row numbers and, where there are some, the true labels stand beside the outputs, so that a file joins back.
    private func write(
        _ answer: PredictAnswer, _ predictions: Tensor, _ schema: Schema, to path: String
    ) throws(DeMLError) {
        let rows = answer.predictions
        guard path.hasSuffix(".csv") else {
            let numbers = Tensor(shape: [rows.count], int64s: rows.map { Int64($0.example) })
            _ = try Safetensors(
                tensors: [("predictions", predictions), ("rows", numbers)],
                metadata: [Schema.key: schema.canonicalJSON]
            ).write(to: path)
            return
        }
        let width = rows.first?.outputs.count ?? 0
        let hasClasses = rows.contains { $0.predicted != nil }
        var header = ["example"]
        let hasTruth = rows.contains { $0.truth != nil }
        if hasTruth { header += ["label"] }
        if hasClasses { header += ["predicted"] }
        header += (0..<width).map {
            hasClasses
                ? CSVText.field(answer.name(ofClass: $0))
                : CSVText.field(schema.targetColumns.indices.contains($0) ? schema.targetColumns[$0] : "output\($0)")
        }
        var text = header.joined(separator: ",") + "\n"
        for row in rows {
            var fields = ["\(row.example)"]
            if hasTruth { fields.append(CSVText.field(row.truth ?? "")) }
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
public struct Pictures: Sendable {
    public struct Frame: Sendable {
        /// `[height][width]`
        public var values: [Float]
        public var height: Int
        public var width: Int
    }

    private let values: [Float]
    private let channels: Int
    private let height: Int
    private let width: Int
    private let lowest: Float
    private let highest: Float

    /// - Returns: nil where the examples `[N, …shape]` are no small pictures.
    init?(_ x: Tensor, shape: [Int]) throws {
        guard shape.count == 3, shape[0] == 1 || shape[0] == 3, shape[1] <= 64, shape[2] <= 64 else { return nil }
        values = try x.floats()
        (channels, height, width) = (shape[0], shape[1], shape[2])
        lowest = min(0, values.min() ?? 0)
        highest = max(values.max() ?? 1, lowest + 1e-6)
    }

    public func frame(_ index: Int) -> Frame {
        let size = height * width
        let grey = (0..<size).map { pixel -> Float in
            let sum = (0..<channels).reduce(Float(0)) { $0 + values[(index * channels + $1) * size + pixel] }
            return (sum / Float(channels) - lowest) / (highest - lowest)
        }
        return Frame(values: grey, height: height, width: width)
    }
}
