import CKernels
import Tensors

/// What the convolutions share: how a kernel goes over an image or a sequence (which has the height 1).
struct Convolution: Equatable {
    var kernelSize: Size2D
    var stride: Size2D = 1
    var padding: Size2D = 0
    var dilation: Size2D = 1
    /// Inputs and outputs are divided into so many groups; an output sees the inputs of its group.
    var groups = 1

    /// Elements of the kernel.
    var taps: Int { kernelSize.height * kernelSize.width }

    /// Refuses groups that do not divide inputs and outputs.
    func checkGroups(_ place: LayerPlace, inputs: Int, outputs: Int) throws(DeMLError) {
        guard groups > 0, inputs % groups == 0, outputs % groups == 0 else {
            throw DeMLError(
                .shape,
                "groups \(groups) does not divide the \(inputs) channels of \(place.input) and out_channels \(outputs)"
            )
        }
    }

    /// The kernels' form over images [batch][height][width][channels]; the batch is set with each pass.
    func kernel(from x: Activations, to y: Activations) -> deml_conv2d {
        let isImage = x.shape.count == 3
        return deml_conv2d(
            batch: 0, height: isImage ? x.height : 1, width: isImage ? x.width : x.pixels, in_channels: x.channels,
            out_channels: y.channels, kernel_height: kernelSize.height, kernel_width: kernelSize.width,
            stride_height: stride.height, stride_width: stride.width, padding_height: padding.height,
            padding_width: padding.width, groups: groups, dilation_height: dilation.height,
            dilation_width: dilation.width)
    }

    /// torch's `padding`: numbers, `valid` or `same`.
    static func padding(
        _ options: StrictContainer, kernel: Size2D, stride: Size2D, dilation: Size2D, size: (String) throws -> Size2D?
    ) throws -> Size2D {
        guard let word = try? options.optional("padding", String.self) else { return try size("padding") ?? 0 }
        switch word {
        case "valid": return 0
        case "same":
            let (height, width) = (
                dilation.height.multipliedSaturated(by: kernel.height - 1),
                dilation.width.multipliedSaturated(by: kernel.width - 1)
            )
            guard stride == 1, height % 2 == 0, width % 2 == 0 else {
                throw options.error(
                    .shape, "padding 'same' needs stride 1 and an odd kernel_size, but they are \(stride) and \(kernel)"
                )
            }
            return Size2D(height / 2, width / 2)
        default:
            guard let size = Int(word) else {
                throw options.error(
                    .malformed, "padding \(word.quotedForMessage) is neither a size, 'same' nor 'valid'")
            }
            return Size2D(size, size)
        }
    }

    /// The operation and its parameters behind `x`.
    func build(
        _ layer: ResolvedLayer, _ x: Activations, outputs: Int, bias: Bool, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .channelsLast)
        let weight = try network.parameter(
            layer.ownParameters[0], .convolution(in: input.channels / groups, out: outputs, kernel: kernelSize))
        let bias = try bias ? network.parameter(layer.ownParameters[1]) : nil
        let y = try network.output(layer.output, .channelsLast, of: input, hasParameters: true)
        network.append(
            ConvolutionOperation(
                ConvolutionOperands(
                    x: input, y: y, weight: weight, bias: bias, activation: network.takeActivation()),
                self))
        return y
    }
}

extension ParameterOrder {
    /// torch [out][in][kh][kw], here [kh][kw][in][out].
    static func convolution(in input: Int, out: Int, kernel: Size2D) -> ParameterOrder {
        ParameterOrder(
            load: { deml_conv2d_weights_import($0, input, out, kernel.height, kernel.width, $1, $2) },
            store: { deml_conv2d_weights_export($0, input, out, kernel.height, kernel.width, $1, $2) })
    }
}

/// What the operations of a convolution and of its transpose work with.
struct ConvolutionOperands {
    let x: Activations
    let y: Activations
    let weight: Parameter
    let bias: Parameter?
    let activation: deml_activation

    /// Makes of the gradient by the output that by what was there before the activation.
    func undoActivation(_ dy: UnsafeMutablePointer<Float>, _ pass: Pass) {
        guard activation != DEML_IDENTITY else { return }
        deml_activation_backward(
            pass.pool, activation, deml_activation_options(), pass.batch * y.size, nil, y.values, dy, dy)
    }
}

/// y[b][oh][ow][out] = f(b[out] + Σ over (kh, kw, in) of x padded · W[kh][kw][in][out]); f: identity or relu. The kernels
/// know the gradients by x, W and b.
private final class ConvolutionOperation: Operation {
    private let operands: ConvolutionOperands
    private var shape: deml_conv2d

    init(_ operands: ConvolutionOperands, _ convolution: Convolution) {
        self.operands = operands
        shape = convolution.kernel(from: operands.x, to: operands.y)
    }

    func forward(_ pass: Pass) {
        shape.batch = pass.batch
        deml_conv2d_forward(
            pass.pool, &shape, operands.x.values, operands.weight.values, operands.bias?.values, operands.activation,
            operands.y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = operands.y.gradient else { return }
        shape.batch = pass.batch
        operands.undoActivation(dy, pass)
        // Before the weights change.
        if let dx = operands.x.gradient {
            deml_conv2d_input_gradient(pass.pool, &shape, dy, operands.weight.values, dx)
        }
        deml_conv2d_weight_gradient(pass.pool, &shape, operands.x.values, dy, operands.weight.sink, operands.bias?.sink)
    }

    func scratch(_ conditions: KernelConditions) -> deml_scratch {
        shape.batch = conditions.batch
        return deml_conv2d_scratch(conditions.threads, conditions.isa, &shape, conditions.isTraining)
    }
}
