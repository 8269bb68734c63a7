import CKernels

/// y[i] = f(x[i]). Backward: dx[i] = dy[i]·f'(x[i]), in place: both gradients are the same array.
final class Activation: Operation {
    private let x: Activations
    private let y: Activations
    private let function: deml_activation
    private let slope: Float

    init(_ x: Activations, _ y: Activations, _ function: deml_activation, slope: Float = 0) {
        self.x = x
        self.y = y
        self.function = function
        self.slope = slope
    }

    func forward(_ pass: Pass) {
        deml_activation_forward(pass.pool, function, slope, pass.batch * x.size, x.values, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        deml_activation_backward(pass.pool, function, slope, pass.batch * x.size, x.values, y.values, dy, dx)
    }
}

/// y[i] = x[i]/(1-p) with probability 1-p, else 0 (Srivastava et al., "Dropout", 2014). The mask is never stored: its
/// counter-based numbers are the same when the backward pass asks for them again. In place as ``Activation``.
final class Dropout: Operation {
    private let x: Activations
    private let y: Activations
    private let probability: Float
    /// Which dropout layer of the network this is, counted from 0.
    private let number: UInt32
    /// The kernels' number of this purpose among all draws of random numbers.
    static let purpose: UInt32 = 1

    init(_ x: Activations, _ y: Activations, probability: Float, number: UInt32) {
        self.x = x
        self.y = y
        self.probability = probability
        self.number = number
    }

    private func random(_ pass: Pass) -> deml_random {
        deml_random(seed: pass.seed, purpose: Self.purpose, epoch: pass.epoch, step: pass.step, layer: number)
    }

    func forward(_ pass: Pass) {
        var random = random(pass)
        deml_dropout(pass.pool, &random, probability, pass.batch * x.size, x.values, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        var random = random(pass)
        deml_dropout(pass.pool, &random, probability, pass.batch * x.size, dy, dx)
    }
}

/// The same numbers in the other layout.
final class LayoutChange: Operation {
    private let x: Activations
    private let y: Activations

    init(_ x: Activations, _ y: Activations) {
        self.x = x
        self.y = y
    }

    func forward(_ pass: Pass) {
        convert(pass, x.values, y.values, to: y.layout)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        convert(pass, dy, dx, to: x.layout)
    }

    private func convert(
        _ pass: Pass, _ from: UnsafeMutablePointer<Float>, _ to: UnsafeMutablePointer<Float>, to layout: Layout
    ) {
        switch layout {
        case .torch: deml_nhwc_to_nchw(pass.pool, pass.batch, x.channels, x.pixels, from, to)
        case .channelsLast: deml_nchw_to_nhwc(pass.pool, pass.batch, x.channels, x.pixels, from, to)
        }
    }
}
