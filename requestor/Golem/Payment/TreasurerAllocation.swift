extension Treasurer {
    /// Sets an amount aside.
    ///
    /// It is written down before it is asked for. Where the answer is lost, the daemon may have made it all the same: then
    /// it is found by its amount and time-out, which nobody else's has to the nanosecond.
    /// - Throws: what the daemon says; `budget` if the funds do not suffice.
    func allocate(_ total: Amount) async throws -> Allocation {
        let timeout = Timestamp.system() + allocationLifetime
        try record(.allocationAsked(total, timeout: timeout))
        machine.allocationAsked(total, timeout: timeout)
        let made: Allocation
        do {
            made = try await client.payment.allocate(total, platform: paymentPlatform, timeout: timeout)
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

    enum Renewal { case renewed, notTheReason, impossible }

    /// Makes another allocation, within the budget, in the place of one that somebody released (`yagna payment
    /// release-allocations` does that), whose time is over, or that is used up.
    func renewAllocation(_ old: AllocationID) async -> Renewal {
        (try? await allocationTurn.pass { await renewInTurn(old) }) ?? .impossible
    }

    private func renewInTurn(_ old: AllocationID) async -> Renewal {
        // Somebody else found out before.
        if let allocation, allocation != old { return .renewed }
        // Of the plan's author: what is left in it is for them to say.
        guard old != reused else { return .notTheReason }
        let wanted = remainingBudget + machine.promisedButNotTaken
        guard let open = try? await client.payment.allocations(), wanted > .zero else { return .notTheReason }
        if let known = open.first(where: { $0.id == old }) {
            // It holds what may still be asked for: the daemon has another reason.
            if known.remaining >= wanted || known.remaining >= machine.promisedButNotTaken { return .notTheReason }
            try? await client.payment.release(old)
        }
        do {
            try record(.allocationReleased(old))
            machine.closeAllocation(old)
            if allocation == old { allocation = nil }
            _ = try await allocate(wanted)
            emit(
                RentalEvent(
                    .warning, "the allocation \(old) was released or used up while it was needed; there is another now",
                    amount: wanted))
            return .renewed
        } catch let reason {
            emit(RentalEvent(.warning, "no bill can be accepted, as no funds can be set aside again: \(reason)"))
            return .impossible
        }
    }

    /// Prolongs the allocation until cancelled.
    func keepAllocation() async {
        while !Task.isCancelled {
            try? await Task.sleep(for: allocationLifetime / 3)
            guard !Task.isCancelled, let allocation, allocation != reused else { return }
            do {
                _ = try await client.payment.amend(allocation, timeout: .system() + allocationLifetime)
            } catch let error as GolemError where [.gone, .notFound, .refused].contains(error.code) {
                _ = await renewAllocation(allocation)
            } catch  where error.isOurDaemons {
                // It is told elsewhere, and there is time: two thirds of the allocation's life are left.
                continue
            } catch {
                emit(RentalEvent(.warning, "the allocation could not be prolonged: \(error)"))
            }
        }
    }

    func releaseAllocation() async {
        guard let id = allocation, id != reused else { return }
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
