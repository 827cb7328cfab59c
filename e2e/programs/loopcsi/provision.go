package main

import (
	"context"
	"log"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	every        = 500 * time.Millisecond
	selectedNode = "volume.kubernetes.io/selected-node"
)

// provision makes a volume for each claim of our classes once its pod has a node, and removes those
// whose claims are gone. It looks twice a second: nothing is missed after an outage of the API.
func (d *driver) provision(kubeconfig string) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	client := kubernetes.NewForConfigOrDie(config)
	for range time.Tick(every) {
		within, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := d.look(within, client); err != nil {
			log.Print(err)
		}
		cancel()
	}
}

func (d *driver) look(ctx context.Context, client kubernetes.Interface) error {
	classes, err := client.StorageV1().StorageClasses().List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	ours := map[string]core.PersistentVolumeReclaimPolicy{}
	for _, class := range classes.Items {
		if class.Provisioner == name {
			ours[class.Name] = *class.ReclaimPolicy
		}
	}
	claims, err := client.CoreV1().PersistentVolumeClaims("").List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	for _, claim := range claims.Items {
		class := claim.Spec.StorageClassName
		if class == nil || claim.Status.Phase != core.ClaimPending || claim.Annotations[selectedNode] == "" {
			continue
		}
		if policy, mine := ours[*class]; mine {
			if err := d.provide(ctx, client, claim, policy); err != nil {
				// The others do not wait for this one.
				log.Print(err)
			}
		}
	}
	return d.reclaim(ctx, client)
}

func (d *driver) provide(ctx context.Context, client kubernetes.Interface, claim core.PersistentVolumeClaim, policy core.PersistentVolumeReclaimPolicy) error {
	id, wanted := "pvc-"+string(claim.UID), claim.Spec.Resources.Requests[core.ResourceStorage]
	made, err := d.CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name:          id,
		CapacityRange: &csi.CapacityRange{RequiredBytes: wanted.Value()},
	})
	if err != nil {
		return err
	}
	size := resource.NewQuantity(made.Volume.CapacityBytes, resource.BinarySI)
	_, err = client.CoreV1().PersistentVolumes().Create(ctx, &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{
			Name:        id,
			Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": name},
		},
		Spec: core.PersistentVolumeSpec{
			Capacity:                      core.ResourceList{core.ResourceStorage: *size},
			AccessModes:                   claim.Spec.AccessModes,
			StorageClassName:              *claim.Spec.StorageClassName,
			PersistentVolumeReclaimPolicy: policy,
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1",
				Kind:       "PersistentVolumeClaim",
				Namespace:  claim.Namespace,
				Name:       claim.Name,
				UID:        claim.UID,
			},
			PersistentVolumeSource: core.PersistentVolumeSource{
				CSI: &core.CSIPersistentVolumeSource{Driver: name, VolumeHandle: id},
			},
		},
	}, meta.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// reclaim removes the volumes of our classes that nobody claims any more.
func (d *driver) reclaim(ctx context.Context, client kubernetes.Interface) error {
	volumes, err := client.CoreV1().PersistentVolumes().List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	for _, volume := range volumes.Items {
		source := volume.Spec.CSI
		if source == nil || source.Driver != name || volume.Status.Phase != core.VolumeReleased ||
			volume.Spec.PersistentVolumeReclaimPolicy != core.PersistentVolumeReclaimDelete {
			continue
		}
		if _, err := d.DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: source.VolumeHandle}); err != nil {
			return err
		}
		if err := client.CoreV1().PersistentVolumes().Delete(ctx, volume.Name, meta.DeleteOptions{}); err != nil && !errors.IsNotFound(err) {
			return err
		}
	}
	return nil
}
