import Datasets
import Foundation
import NeuralNetwork
import Tensors

/// Examples to predict for, with labels where they have some, in the shape the model takes.
struct PredictionInputs {
    var path: String
    /// `[N, …input shape]`
    var x: Tensor
    /// Rows of the file, counted from 0.
    var rows: [Int]
    var notes: [Decision] = []
    var part: DatasetPart?
    private var labels: [Int]?
    private var targets: [[Float]]?

    init(_ request: PredictRequest, _ model: ModelArgument, _ paths: Paths) throws {
        let labelsTokens = model.weights.model.labelsTokens
        guard !labelsTokens || request.writesOnlyArrays else {
            throw DeMLError(
                .usage, "the model says what follows each token of a text", place: paths.shown(model.path),
                hint:
                    "deml generate writes text with it, deml evaluate measures it; --output of .npz or .safetensors has its numbers"
            )
        }
        if let picture = request.picture {
            path = "picture"
            x = try Self.tensor(picture, request, model, &notes)
            rows = [0]
            return
        }
        if let text = request.text {
            path = "the text"
            guard case .tokens(_, let names) = model.schema.features, let tokens = model.weights.model.input.tokens
            else {
                throw DeMLError(.usage, "the model takes no text", place: paths.shown(model.path))
            }
            do throws(DeMLError) {
                let example = try text.example(
                    length: model.weights.model.inputShape.reduce(1, *), tokens: tokens, TokenNames(names))
                (x, rows) = (example.x, [0])
                notes.append(example.note)
            } catch {
                throw error.within(path)
            }
            return
        }
        if let data = request.data.data {
            path = try paths.dataset(data, from: paths.workingFolder)
            do throws(DeMLError) {
                // A grey picture is light ink on dark paper, as MNIST has it; a colour one is taken as it is.
                if !Files.isDirectory(path), model.weights.model.inputShape.first != 3,
                    Picture.isPicture(try Files.prefix(of: path, count: 16))
                {
                    x = try Self.tensor(Files.read(path, maximumBytes: 64 << 20), request, model, &notes)
                    rows = [0]
                    return
                }
            } catch {
                throw error.place?.hasPrefix(path) == true ? error : error.within(paths.shown(path))
            }
        }
        let found = try ModelData(request.data, model, part: request.part, paths)
        path = found.path
        x = found.x
        rows = found.rows
        notes = found.notes
        part = found.part
        if request.part == nil, found.part == .test {
            notes.append(
                Decision("examples", "the \(found.rows.count) of the test set (--split all takes every row)"))
        }
        guard let y = found.y, !labelsTokens else { return }
        if model.weights.model.loss == .crossEntropy {
            labels = try y.integers()
        } else {
            let width = y.rowCount
            let values = try y.floats()
            targets = (0..<y.shape[0]).map { Array(values[$0 * width..<($0 + 1) * width]) }
        }
    }

    /// The examples that are asked for.
    /// - Throws: `usage` for numbers that are none, and a beginning beyond the end.
    func chosen(_ request: PredictRequest, _ paths: Paths) throws(DeMLError) -> Range<Int> {
        guard request.count >= 0, request.start >= 0 else {
            throw DeMLError(.usage, "--count and --start are to be 0 or more")
        }
        try request.writing.validate()
        let (start, available) = (request.start, x.shape[0])
        guard start < available else {
            throw DeMLError(.usage, "--start \(start) is beyond the \(available) examples", place: paths.shown(path))
        }
        return start..<(request.count == 0 ? available : start + min(available - start, request.count))
    }

    /// What a model says of some of the examples, with all that is known of them.
    func table(_ chosen: Range<Int>, _ outputs: [Float], _ model: ModelArgument) -> PredictionTable {
        PredictionTable(
            model: model.weights.model, schema: model.schema, rows: Array(rows[chosen]), outputs: outputs,
            labels: labels.map { Array($0[chosen]) }, targets: targets.map { $0[chosen].flatMap(\.self) })
    }

    /// A picture as the model takes it.
    private static func tensor(
        _ bytes: [UInt8], _ request: PredictRequest, _ model: ModelArgument, _ notes: inout [Decision]
    ) throws(DeMLError) -> Tensor {
        let shape = model.weights.model.inputShape
        if shape.count == 3, shape[0] == 3 {
            return Tensor(shape: [1] + shape, bytes: try PictureFile(bytes).scaled(to: shape))
        }
        let picture = try Picture(bytes)
        let isDigit = DrawnDigit.suits(shape)
        if request.centers == true, !isDigit {
            throw DeMLError(
                .shape, "a digit is centred in 28 x 28 grey pixels, but the model takes \(shape)",
                hint: "leave out --center")
        }
        // A picture of just that size is taken for one that was made so.
        let isMade = picture.width == 28 && picture.height == 28
        guard isDigit, request.centers ?? (!isMade && DrawnDigit.isKnown(to: model)) else {
            return try picture.tensor(shape: shape, invert: request.invert)
        }
        if request.centers == nil {
            notes.append(
                Decision(
                    "picture",
                    "brought to 20 pixels and centred by its mass, as the digits of MNIST are (--center false: as it is)"
                ))
        }
        let pixels = DrawnDigit.pixels(of: picture, invert: request.invert)
        return Tensor(shape: [1] + shape, bytes: pixels)
    }
}

extension PredictRequest {
    /// Whether what the model says is only written, as it is.
    fileprivate var writesOnlyArrays: Bool {
        guard let output, writing.contents == .all else { return false }
        return [.npz, .safetensors].contains(writing.format ?? PredictionFormat(path: output))
    }
}
