import CKernels
import Tensors

/// One direction of one layer of an LSTM or GRU: h[b][t] out of x[b][t] and h[b][t-1].
///
/// The products with x are one for all steps. A step has one product with h, whose sums go on from those (of a GRU begin
/// with b_hh), then all functions at once. Backward the steps are gone through the other way with the transposed W_hh; the
/// weights' gradients are one product each, over the rows (b, t) in their order.
final class RecurrentOperation: Operation {
    enum Kind {
        case lstm, gru

        var gates: Int { self == .lstm ? 4 : 3 }
    }

    struct Parameters {
        let ih: Parameter
        let hh: Parameter
        let biases: (ih: Parameter, hh: Parameter)?
    }

    private let kind: Kind
    private let x: Activations
    private let y: Activations
    private let hidden: Int
    /// Where this direction's numbers begin in a row of y.
    private let first: Int
    private let isReverse: Bool
    /// Another direction has written x's gradient before.
    private let addsGradient: Bool
    private let parameters: Parameters
    private let length: Int
    private let features: Int
    /// Numbers of all gates of a step.
    private let width: Int

    /// [t][gates][h] an example: the functions' values, then the gradients of what they are of.
    private let gates: UnsafeMutablePointer<Float>
    /// The same of a GRU: the part of h.
    private let recurrent: UnsafeMutablePointer<Float>?
    /// [t][h] an example: c of an LSTM.
    private let cell: UnsafeMutablePointer<Float>?
    /// [gates][h]: b_ih + b_hh of an LSTM.
    private let bias: UnsafeMutablePointer<Float>?

    // Of the backward pass.
    private let transposed: UnsafeMutablePointer<Float>?
    /// [t][h] an example: h of the step before.
    private let before: UnsafeMutablePointer<Float>?
    /// [h] an example each: gradients on their way from step to step.
    private let dh: UnsafeMutablePointer<Float>?
    private let carried: UnsafeMutablePointer<Float>?
    private let ownGradient: UnsafeMutablePointer<Float>?

    init(
        _ x: Activations, _ y: Activations, _ kind: Kind, hidden: Int, direction: Int, of directions: Int,
        _ parameters: Parameters, _ network: NetworkBuilder
    ) throws(DeMLError) {
        self.kind = kind
        self.x = x
        self.y = y
        self.hidden = hidden
        self.parameters = parameters
        first = direction * hidden
        isReverse = direction == 1
        // The backward pass begins with the last direction.
        addsGradient = direction + 1 < directions && x.gradient != nil
        length = x.shape[0]
        features = x.shape[1]
        width = kind.gates * hidden
        let isTraining = !network.purpose.isInference
        gates = try network.array(perExample: length * width, for: .activations)
        recurrent = try kind == .gru ? network.array(perExample: length * width, for: .activations) : nil
        cell = try kind == .lstm ? network.array(perExample: length * hidden, for: .activations) : nil
        bias = try kind == .lstm && parameters.biases != nil ? network.array(count: width, for: .activations) : nil
        transposed = try isTraining ? network.array(count: width * hidden, for: .gradients) : nil
        before = try isTraining ? network.array(perExample: length * hidden, for: .gradients) : nil
        dh = try isTraining ? network.array(perExample: hidden, for: .gradients) : nil
        carried = try isTraining ? network.array(perExample: hidden, for: .gradients) : nil
        ownGradient = try isTraining && addsGradient ? network.array(perExample: x.size, for: .gradients) : nil
    }

    /// Numbers from one step of an output row to the next.
    private var rowWidth: Int { y.size / length }

    /// The place of step `number` in the order of this direction.
    private func time(_ number: Int) -> Int { isReverse ? length - 1 - number : number }

    /// What the functions of a step read and write.
    private func step(_ number: Int, _ batch: Int) -> deml_recurrent_step {
        let now = time(number)
        let earlier = number == 0 ? nil : time(number - 1)
        var step = deml_recurrent_step()
        step.batch = batch
        step.hidden = hidden
        step.gates = gates + now * width
        step.recurrent = recurrent.map { $0 + now * width }
        step.gates_stride = length * width
        step.h = y.values + now * rowWidth + first
        step.h_stride = y.size
        step.cell = cell.map { $0 + now * hidden }
        step.cell_stride = length * hidden
        if let cell {
            step.before = earlier.map { UnsafePointer(cell + $0 * hidden) }
            step.before_stride = length * hidden
        } else {
            step.before = earlier.map { UnsafePointer(y.values + $0 * rowWidth + first) }
            step.before_stride = y.size
        }
        return step
    }

    func forward(_ pass: Pass) {
        let batch = pass.batch
        if let bias, let biases = parameters.biases {
            bias.update(from: biases.ih.values, count: width)
            deml_add(pass.pool, width, biases.hh.values, bias)
        }
        deml_linear_forward(
            pass.pool, batch * length, features, width, x.values, parameters.ih.values,
            kind == .lstm ? bias : parameters.biases?.ih.values, DEML_IDENTITY, gates)
        for number in 0..<length {
            var step = step(number, batch)
            if number > 0 {
                let earlier = y.values + time(number - 1) * rowWidth + first
                deml_linear_rows(
                    pass.pool, batch, hidden, width, earlier, y.size, parameters.hh.values,
                    parameters.biases?.hh.values,
                    kind == .lstm, step.recurrent ?? step.gates, length * width)
            } else if let part = step.recurrent {
                for example in 0..<batch {
                    let row = part + example * length * width
                    if let biases = parameters.biases {
                        row.update(from: biases.hh.values, count: width)
                    } else {
                        row.update(repeating: 0, count: width)
                    }
                }
            }
            switch kind {
            case .lstm: deml_lstm_forward(pass.pool, &step)
            case .gru: deml_gru_forward(pass.pool, &step)
            }
        }
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let transposed, let dh, let carried else { return }
        let batch = pass.batch
        deml_linear_weights_transpose(pass.pool, hidden, width, parameters.hh.values, transposed)
        carried.update(repeating: 0, count: batch * hidden)
        for number in (0..<length).reversed() {
            var step = step(number, batch)
            step.dy = UnsafePointer(dy + time(number) * rowWidth + first)
            step.dy_stride = y.size
            step.dh = number + 1 < length ? UnsafePointer(dh) : nil
            step.dbefore = carried
            switch kind {
            case .lstm: deml_lstm_backward(pass.pool, &step)
            case .gru: deml_gru_backward(pass.pool, &step)
            }
            guard number > 0 else { break }
            deml_linear_rows(
                pass.pool, batch, width, hidden, step.recurrent ?? step.gates, length * width, transposed, nil, false,
                dh,
                hidden)
        }
        finishBackward(pass)
    }

    /// The input's gradient, and the weights': of all steps at once.
    private func finishBackward(_ pass: Pass) {
        let rows = pass.batch * length
        // Before the weights change.
        if let dx = x.gradient {
            deml_linear_input_gradient(
                pass.pool, rows, features, width, gates, parameters.ih.values, ownGradient ?? dx)
            if let ownGradient { deml_add(pass.pool, rows * features, ownGradient, dx) }
        }
        deml_linear_weight_gradient(
            pass.pool, rows, features, width, x.values, gates, parameters.ih.sink, parameters.biases?.ih.sink)
        guard let before else { return }
        copyBefore(pass, before)
        deml_linear_weight_gradient(
            pass.pool, rows, hidden, width, before, recurrent ?? gates, parameters.hh.sink, parameters.biases?.hh.sink)
    }

    /// h of each row's step before; zeros at the beginning.
    private func copyBefore(_ pass: Pass, _ before: UnsafeMutablePointer<Float>) {
        let rows = pass.batch * length
        let (from, to) = isReverse ? (1, 0) : (0, 1)
        deml_copy_columns(
            pass.pool, rows - 1, hidden, y.values + from * rowWidth + first, rowWidth, before + to * hidden, hidden)
        for example in 0..<pass.batch {
            (before + (example * length + time(0)) * hidden).update(repeating: 0, count: hidden)
        }
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        let (threads, isa, batch) = (conditions.threads, conditions.isa, conditions.batch)
        let rows = batch.multipliedSaturated(by: length)
        var all = [
            deml_linear_scratch(threads, isa, rows, features, width, conditions.isTraining),
            deml_linear_rows_scratch(threads, isa, batch, hidden, width),
        ]
        if conditions.isTraining {
            all.append(deml_linear_rows_scratch(threads, isa, batch, width, hidden))
            all.append(deml_linear_scratch(threads, isa, rows, hidden, width, true))
        }
        return all.reduce(deml_scratch()) { deml_scratch_of_both($0, $1) }
    }
}
