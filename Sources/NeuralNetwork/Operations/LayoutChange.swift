import CKernels

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
