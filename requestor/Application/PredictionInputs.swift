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
    private var labels: [Int]?
    private var targets: [[Float]]?

    init(_ request: PredictRequest, _ model: ModelArgument, _ paths: Paths) throws {
        if let data = request.data.data {
            path = try paths.dataset(data, from: paths.workingFolder)
            do throws(DeMLError) {
                // A grey picture is light ink on dark paper, as MNIST has it; a colour one is taken as it is.
                if !Files.isDirectory(path), model.weights.model.inputShape.first != 3,
                    Picture.isPicture(try Files.prefix(of: path, count: 16))
                {
                    let picture = try Picture(Files.read(path, maximumBytes: 64 << 20))
                    x = try picture.tensor(shape: model.weights.model.inputShape, invert: request.invert)
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
        if request.part == nil, found.part == .test {
            notes.append(
                Decision("examples", "the \(found.rows.count) of the test set (--split all takes every row)"))
        }
        guard let y = found.y else { return }
        if model.weights.model.loss == .crossEntropy {
            labels = try y.integers()
        } else {
            let width = y.rowCount
            let values = try y.floats()
            targets = (0..<y.shape[0]).map { Array(values[$0 * width..<($0 + 1) * width]) }
        }
    }

    /// The true label of an example, or the numbers that were to be predicted.
    func truth(_ index: Int, _ answer: PredictAnswer) -> String? {
        if let labels { return answer.name(ofClass: labels[index]) }
        return targets.map { $0[index].map { "\($0)" }.joined(separator: " ") }
    }
}
