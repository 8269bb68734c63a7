extension Treasurer {
    /// Sets what is left of the budget aside.
    ///
    /// It is written down before it is asked for. Where the answer is lost, the daemon may have made it all the same: then
    /// it is found by its amount and time-out, which nobody else's has to the nanosecond.
    /// - Throws: what the daemon says; `budget` if the funds do not suffice.
    func allocate(platform: String, lifetime: Duration) async throws -> Allocation {
        let total = remainingBudget
        let timeout = Timestamp.now() + lifetime
        try record(.allocationAsked(total, timeout: timeout))
        machine.allocationAsked(total, timeout: timeout)
        let made: Allocation
        do {
            made = try await client.payment.allocate(total, platform: platform, timeout: timeout)
        } catch let error as GolemError where error.mayPass {
            let found = try await client.waitingForDaemon(patience: daemonPatience) { try await unnamedAllocations() }
            guard let first = found.first else {
                machine.forgetUnnamedAllocations()
                throw error
            }
            made = first
        } catch {
            machine.forgetUnnamedAllocations()
            throw error
        }
        allocation = made.id
        machine.forgetUnnamedAllocations()
        try record(.allocation(made.id, made.total))
        emit(RentalEvent(.allocated, "set \(made.total) GLM aside", amount: made.total))
        return made
    }

    /// Allocations of the daemon that were asked for and whose names did not arrive.
    private func unnamedAllocations() async throws -> [Allocation] {
        let asked = machine.unnamedAllocations
        guard !asked.isEmpty else { return [] }
        return try await client.payment.allocations().filter { one in
            asked.contains { $0.total == one.total && one.timeout?.isSameMicrosecond(as: $0.timeout) ?? false }
        }
    }

    /// Prolongs the allocation until cancelled.
    func keepAllocation(_ timeout: Duration) async {
        while !Task.isCancelled, let allocation {
            try? await Task.sleep(for: timeout / 3)
            if Task.isCancelled { return }
            do {
                _ = try await client.payment.amend(allocation, timeout: .now() + timeout)
            } catch {
                emit(RentalEvent(.warning, "the allocation could not be prolonged: \(error)"))
            }
        }
    }

    func releaseAllocation() async {
        guard let id = allocation else { return }
        for attempt in 1...5 {
            do {
                try await client.payment.release(id)
                try? record(.allocationReleased(id))
                allocation = nil
                emit(RentalEvent(.released, "released the allocation"))
                return
            } catch {
                if attempt == 5 {
                    emit(RentalEvent(.warning, "the allocation \(id) could not be released: \(error)"))
                } else {
                    try? await Task.sleep(for: .milliseconds(300 * attempt))
                }
            }
        }
    }

    /// Gives back what an earlier run set aside, named in its ledger or only asked for.
    func releaseOldAllocations() async {
        do {
            for found in try await unnamedAllocations() { machine.openAllocation(found.id) }
            machine.forgetUnnamedAllocations()
            for id in machine.openAllocations {
                try await client.payment.release(id)
                try record(.allocationReleased(id))
                machine.closeAllocation(id)
                emit(RentalEvent(.leftover, "released the allocation of an earlier run that did not end well"))
            }
        } catch {
            emit(RentalEvent(.warning, "an allocation of an earlier run could not be released: \(error)"))
        }
    }
}

extension Timestamp {
    /// The daemon keeps microseconds.
    fileprivate func isSameMicrosecond(as other: Timestamp) -> Bool {
        abs((self - other).inSeconds) < 1e-6
    }
}
